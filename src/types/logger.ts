/** A method of pino's shape. */
export type LogMethod = (fields: Record<string, unknown>, message: string) => void;

/** pino, or anything shaped like it. One that throws harms nothing. */
export interface Logger {
  /** Calls that are left to the relay because all slots are taken. */
  debug: LogMethod;
  /** Calls that were published, and the cleaner's work. */
  info: LogMethod;
  /** Runs that failed and are tried again, statements that are repeated. */
  warn: LogMethod;
  /** Whether lines of a level are of interest; asked before a line that every call has. (Default: all are) */
  isLevelEnabled?(level: string): boolean;
  /** Dead calls, parked keys, lost leases, and what else a person should look at. */
  error: LogMethod;
}
