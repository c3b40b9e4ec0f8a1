import { PoplinError } from '#kit';

export type ImageFailure =
  /** A program that the build runs failed. */
  | { readonly code: 'COMMAND'; readonly command: string }
  /** A Debian package is not what the build expects. */
  | { readonly code: 'PACKAGE'; readonly debianPackage: string }
  /** What was put together would not work. */
  | { readonly code: 'CONTENT'; readonly path: string };

export class ImageError extends PoplinError<ImageFailure> {}
