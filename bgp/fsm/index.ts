export {
  establishedConnection,
  idleHoldMaxMs,
  idleHoldMinMs,
  initialState,
  openHoldMs,
  setGracefulRestart,
  stableMs,
  stateName,
} from './state.ts';
export { step } from './step.ts';
export type * from './types.ts';
