import type { Duration } from "./settings.js";

/** What `outbox.streams.pause` takes beside the stream. */
export interface ReasonOptions {
  /** Why, in at most 1000 characters: kept, and shown to whoever looks. With a skipped call it stands on one line. (Default: none) */
  reason?: string;
}

/** What `outbox.keys.skipHead` takes beside the key. */
export interface SkipOptions extends ReasonOptions {
  /** Skips the first call of the key only if it is this one. (Default: whichever it is) */
  id?: string;
  /** Tells which call is the first one, and changes nothing. (Default: `false`) */
  dryRun?: boolean;
}

/** An ordering key of a stream; without `orderingKey`, the stream's calls that have none. */
export interface KeyOfStream {
  /** The stream's name. */
  stream: string;
  /** (Default: the calls without one) */
  orderingKey?: string;
}

/** What `outbox.check` takes. */
export interface CheckOptions {
  /** How long the oldest call of a stream may have been due. (Default: 10 min) */
  maxAge?: Duration;
  /** How many calls of a stream may be pending. (Default: no limit) */
  maxSize?: number;
}

/** Something that a person should look at. */
export interface Problem {
  /** Calls have been due for too long, or are too many, or this process does not know their function or its version. */
  kind: "too-old" | "too-many" | "unroutable";
  /** The stream of the calls. */
  stream: string;
  /** In words. */
  message: string;
}

/** How a stream stands. Ages in milliseconds, on the database's clock. */
export interface StreamStatus {
  /** The stream's name. */
  stream: string;
  /** Calls that are neither sent nor dead; the next two are part of them. */
  pending: number;
  /** Calls that whoever comes first may run. Keep-order calls stay due while they run. */
  due: number;
  /** Publish-on-commit calls under a live lease. */
  running: number;
  /** Calls that ran and wait for the cleaner. */
  sent: number;
  /** Calls that were given up, or skipped. */
  dead: number;
  /** Calls of parked keys; they are part of the pending ones. */
  parked: number;
  /** Ordering keys whose head failed, and that wait behind it. */
  blockedKeys: number;
  /** Ordering keys that wait behind a delayed or unroutable head. */
  waitingKeys: number;
  /** Ordering keys that were set aside until a person resumes them. */
  parkedKeys: number;
  /**
   * For how long the oldest call has been due, those behind a failed head included, parked ones not. Absent where none is
   * due.
   */
  oldestDueAgeMs?: number;
  /** Of the keys that are blocked, the one that has been for longest. Absent where none is. */
  blockedHead?: BlockedHead;
  /** Since when it is paused. Absent where it is not. */
  pausedAt?: Date;
  /** As given when it was paused. */
  pausedReason?: string;
  /** Host name and process id of who serves its keep-order calls. Absent where nobody does. */
  servedBy?: string;
}

/** The first call of a key that is blocked. */
export interface BlockedHead {
  /** UUIDv7. */
  id: string;
  /** The name under which the function was registered when the call was made. */
  function: string;
  /** Absent for calls without one. */
  orderingKey?: string;
  /** Runs whose outcome was written down. */
  attempts: number;
  /** Since when its key stands aside. */
  since: Date;
  /** Of the last run: its stack, at most 4000 characters. */
  lastError?: string;
}
