/** A look at what programs are given on stdin, for runners that really run them. */
import type { CommandOptions } from '#felix';

type Input = CommandOptions['stdin'];

/** The same input, of which `onPart` is told what the program gets, when it gets it. */
export function watchedInput(stdin: Input, onPart: (text: string) => void): NonNullable<Input> {
  if (typeof stdin === 'object') return watchedParts(stdin, onPart);
  onPart(stdin ?? '');
  return stdin ?? '';
}

async function* watchedParts(stdin: AsyncIterable<string>, onPart: (text: string) => void): AsyncGenerator<string> {
  for await (const part of stdin) {
    onPart(part);
    yield part;
  }
}
