export { roleText } from './role.ts';
export {
  establishedConnection,
  idleHoldMaxMs,
  initialState,
  setGracefulRestart,
  setTexts,
  stateName,
} from './state.ts';
export { step } from './step.ts';
export type * from './types.ts';
