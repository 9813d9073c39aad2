import type { Headers, Strategy } from "./call.js";
import type { Duration } from "./settings.js";

/**
 * How a call stands, as a list shows it. `pending`: its due moment lies ahead. `due`: whoever comes first may run it. `running`:
 * a publish-on-commit call under a live lease; a keep-order call stays what it was while it runs, mostly `due`. `blocked`: a
 * keep-order head that failed. `waiting`: a keep-order call behind such a head, or behind or as one that is delayed or
 * unroutable. `parked`: of a key that was set aside until a person resumes it. `sent`: ran, and kept for the cleaner. `dead`:
 * given up, or skipped by a person.
 */
export type CallState = "pending" | "due" | "running" | "blocked" | "waiting" | "parked" | "sent" | "dead";

/** A stored call, without its arguments. Moments are of the database's clock. */
export interface ListedCall {
  /** UUIDv7. */
  id: string;
  /** The name under which the function was registered when the call was made. */
  function: string;
  /** The stream that the call belongs to. */
  stream: string;
  /** Who runs it. */
  strategy: Strategy;
  /** Absent for calls without one. */
  orderingKey?: string;
  /** How it stands at the moment of the list. */
  state: CallState;
  /** Runs whose outcome was written down, and ends of the process while it ran alone. */
  attempts: number;
  /** Of the last run that failed: its stack, at most 4000 characters, after what a person did to the call, if anybody did. */
  lastError?: string;
  /** When it was stored. */
  createdAt: Date;
  /** When it is, or was, due; while a publish-on-commit call runs, when its lease ends; in the year 9999, when a person says so. */
  dueAt: Date;
  /** Its place in the list: given as `after`, the next page begins behind it, also once the call is gone. */
  cursor: string;
}

/** Which calls are meant. Each member narrows them. */
export interface CallSelection {
  /** Only calls of this stream. (Default: every stream) */
  stream?: string;
  /** Only calls in this state. (Default: every state) */
  state?: CallState;
  /** Only calls of this function. (Default: every function) */
  function?: string;
  /** Only calls of this ordering key. (Default: every key) */
  orderingKey?: string;
  /** Only calls that were stored longer ago than this. (Default: of any age) */
  olderThan?: Duration;
  /** Only calls whose last error contains this text, in these very letters. (Default: with any error, or none) */
  error?: string;
}

/** What `outbox.calls.list` takes. */
export interface ListOptions extends CallSelection {
  /** At most so many calls, from 1 to 1000. (Default: 100) */
  limit?: number;
  /**
   * The `cursor` of the call that the page before ended with; or its id, while it is still stored. (Default: from the first
   * call on)
   */
  after?: string;
}

/** What `outbox.calls.get` takes. */
export interface GetOptions {
  /** Decodes and shows the arguments, which may be personal data. (Default: `false`) */
  args?: boolean;
}

/** All that is stored of a call. */
export interface CallDetails extends ListedCall {
  /** Empty where none were given. */
  headers: Headers;
  /** The version of the function's arguments when the call was made. */
  version: number;
  /** The codec that encoded the arguments. */
  codec: string;
  /** The size of the encoded arguments. */
  payloadBytes: number;
  /** Whether it carries a signature, right or wrong. */
  isSigned: boolean;
  /** How often it was begun under suspicion of ending its process, since it last came to an end. */
  suspectRuns: number;
  /** When it was sent, or went dead. */
  settledAt?: Date;
  /** The decoded arguments, of the version that was stored: only where they were asked for, and could be decoded. */
  args?: readonly unknown[];
  /** Why the arguments that were asked for could not be decoded. */
  argsError?: unknown;
}

/** What `outbox.calls.retry` and `outbox.calls.discard` take beside the calls. */
export interface ChangeOptions {
  /** Counts the calls, and changes nothing. (Default: `false`) */
  dryRun?: boolean;
  /**
   * Told after each batch of at most 1000 calls, how many are done; a discard of keep-order calls that wait, after 10,000 of
   * them. (Default: none)
   */
  onProgress?: (done: number) => void | Promise<void>;
}
