import type { Duration } from "./settings.js";

/** What `outbox.relay` takes. */
export interface RelayOptions {
  /** Only calls of this stream. (Default: every stream) */
  stream?: string;
  /** Starts at most so many runs. 0 only asks whether the tables are there. (Default: no limit) */
  limit?: number;
  /** Starts no run after this moment of this process's clock. (Default: none) */
  deadline?: Date;
}

/** What one pass did, counted in calls. */
export interface RelayResult {
  /** Runs that succeeded. */
  published: number;
  /** Runs that failed and were not given up for good: tried again, or (keep-order) parked or blocked until a person says so. */
  failed: number;
  /** Calls that were given up. */
  dead: number;
  /** Due calls whose function this process has not registered. */
  unroutable: number;
  /** The first 100 keep-order heads that failed in this pass. */
  blocked: { stream: string; orderingKey?: string; id: string }[];
  /** All of them. */
  blockedCount: number;
}

/** What `outbox.startRelayer` takes. */
export interface RelayerOptions {
  /** Only calls of this stream. (Default: every stream) */
  stream?: string;
  /**
   * How often it looks for streams with due calls; at least 1 ms. Within a stream that is being served the outbox's
   * `pollInterval` counts. (Default: the outbox's `pollInterval`)
   */
  interval?: Duration;
  /**
   * Told, beside the log, when the relayer could not do its work, such as while the database is down. It tries again by
   * itself. (Default: none)
   */
  onError?: (error: unknown) => void | Promise<void>;
}

/** A loop of passes. */
export interface Relayer {
  /** Starts no more runs. Resolves once those in flight have been settled, at most `abandonAfter` later. */
  stop(): Promise<void>;
}

/** What `outbox.clean` takes. */
export interface CleanOptions {
  /** Only calls that were sent longer ago than this. (Default: the outbox's `retention`) */
  olderThan?: Duration;
  /** Rows that one statement deletes; at least 1. (Default: 1000) */
  batchSize?: number;
  /** Counts, and deletes nothing. (Default: `false`) */
  dryRun?: boolean;
}

/** What `outbox.schedule` takes: `relay`, `clean` or both. */
export interface ScheduleOptions {
  /** A cron expression for `relay()`: five fields, or six with seconds first. (Default: none) */
  relay?: string;
  /** A cron expression for `clean()`: five fields, or six with seconds first. (Default: none) */
  clean?: string;
  /** An IANA name, such as `Europe/Lisbon`. (Default: the process's own) */
  timeZone?: string;
}

/** Passes at the moments of cron expressions. */
export interface Schedule {
  /** Begins no more passes. Resolves once the one that is going on has ended. */
  stop(): Promise<void>;
}
