/**
 * The project's list of hostile inputs, by area: what is sent, by whom, in which state, and what the RFC wants to come of it. One list, three
 * uses: the decoder alone, a speaker in memory (test/bgp), a speaker process behind real sockets (test/interop).
 */
import { attributeInputs } from './attributes.ts';
import type { HostileInput } from './build.ts';
import { multiprotocolInputs, nlriInputs } from './routes.ts';
import { openInputs, sessionInputs } from './sessions.ts';

export { attributeInputs, multiprotocolInputs, nlriInputs, openInputs, sessionInputs };

export const hostileInputs: readonly HostileInput[] = [
  ...attributeInputs,
  ...nlriInputs,
  ...multiprotocolInputs,
  ...sessionInputs,
  ...openInputs,
];
