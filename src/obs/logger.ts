/** JSON lines on stderr: level by name, ISO time, component; secrets redacted by type and by field name. */
import pino from 'pino';
import { type Logger, Secret } from '#kit';

export type LogLevel = 'error' | 'warn' | 'info' | 'debug';

export interface LoggerOptions {
  readonly level: LogLevel;
  /** Stands in every line, e.g. the node's name. */
  readonly base?: Readonly<Record<string, string | number>>;
  /** Where lines go; stderr by default, written synchronously so that the last line before a crash is there. */
  readonly destination?: { write(line: string): void };
}

/** Fields that hold credentials where they are plain text (speaker configuration, manifests). Two levels deep. */
const secretFields = ['password', 'authPassword', 'token', 'secret'];
const secretPaths = secretFields.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]);

export interface RootLogger extends Logger {
  /** From now on, for all children as well. */
  setLevel(level: LogLevel): void;
}

/** The root logger. Components take `logger.child({ component: 'datastore' })`. */
export function createLogger(options: LoggerOptions): RootLogger {
  // Made once for each component: few, and as long-lived as this.
  const family: { level: string }[] = [];
  const logger = pino(
    {
      level: options.level,
      base: { ...options.base },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }), log: plainFields },
      redact: { paths: secretPaths, censor: '[redacted]' },
      onChild: (child) => void family.push(child),
    },
    options.destination ?? pino.destination({ fd: 2, sync: true }),
  );
  family.push(logger);
  const setLevel = (level: LogLevel): void => {
    for (const member of family) member.level = level;
  };
  return Object.assign(logger as unknown as Logger, { setLevel });
}

/** Errors as `{type, message, code, stack}` under whatever name they stand; Secrets print themselves redacted. */
function plainFields(fields: Record<string, unknown>): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields)) {
    if (value instanceof Error) out[key] = pino.stdSerializers.errWithCause(value);
    else if (value instanceof Secret) out[key] = value.toJSON();
    else if (typeof value === 'bigint') out[key] = value.toString();
    else out[key] = value;
  }
  return out;
}
