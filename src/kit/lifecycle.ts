/** A component with a life: built from `(deps, options)`, started once, stopped once. `stop` after a failed start is safe. */
export interface Startable {
  start(): Promise<void>;
  stop(): Promise<void>;
}
