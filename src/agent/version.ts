import { buildInfo } from '#config';

/** Version of this checkout or image. */
export function agentVersion(): string {
  return buildInfo().version;
}
