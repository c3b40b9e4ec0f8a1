/**
 * The part of pino's logger that components use; `#obs` makes the real one. Constant message, data in fields.
 * error: a person must act. warn: degraded. info: state changed. debug: per event.
 */
export interface Logger {
  error(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  info(fields: object, message: string): void;
  debug(fields: object, message: string): void;
  child(fields: object): Logger;
}

export const silentLogger: Logger = {
  error: () => undefined,
  warn: () => undefined,
  info: () => undefined,
  debug: () => undefined,
  child: () => silentLogger,
};

/** What a logger was told, as plain data. */
export interface LogLine {
  readonly level: 'error' | 'warn' | 'info' | 'debug';
  readonly fields: object;
  readonly message: string;
}

/** Of a thread or process that has no logger of its own: every line goes to who has the real one, fields of its parents included. */
export function forwardingLogger(forward: (line: LogLine) => void, base: object = {}): Logger {
  const line = (level: LogLine['level']) => (fields: object, message: string) =>
    forward({ level, fields: { ...base, ...fields }, message });
  return {
    error: line('error'),
    warn: line('warn'),
    info: line('info'),
    debug: line('debug'),
    child: (fields) => forwardingLogger(forward, { ...base, ...fields }),
  };
}
