import type { KeyObject } from "node:crypto";

/** Milliseconds, or a text such as `"100ms"`, `"30s"`, `"7d"`. What a timer waits for (`timeout`, `lease`, …) is at most 24 days. */
export type Duration = number | string;

/** When calls are stored: in the transaction, or only once the run after the commit has failed. */
export type Persist = "always" | "on-failure";

/**
 * What becomes of a keep-order call whose retry policy gives up, or that threw an `UnrecoverableError`. `block`: it is tried
 * again at the longest delay of its schedule, for ever, and its key waits. `park`: its key is set aside with all its calls,
 * later ones too, until a person resumes it. `skip`: it goes dead, and the next call of its key runs.
 */
export type OnExhausted = "block" | "park" | "skip";

/** Turns arguments into text and back. The name is stored with each call and must be known when it runs. */
export interface Codec {
  /** Stored with each call; 1 to 200 characters. Renaming a codec makes the calls stored before undecodable. */
  name: string;
  /** The text to store: well-formed, without NUL. What it throws refuses the call. */
  encode(args: readonly unknown[]): string;
  /** The arguments again, as many as there were. What it throws fails the run. Must never evaluate what it reads. */
  decode(text: string): unknown[];
}

/** How long a failed call waits before its next attempt, and when it is given up; keep-order ones then do as `onExhausted` says. */
export interface RetrySchedule {
  /** Before the second attempt. (Default: 1 s) */
  initialDelay?: Duration;
  /** Each delay is the one before times this; at least 1. (Default: 2) */
  factor?: number;
  /** No delay is longer, jitter aside. (Default: 10 min) */
  maxDelay?: Duration;
  /** The share by which a delay varies at random, either way, from 0 to 1. (Default: 0.2) */
  jitter?: number;
  /**
   * A call that fails is given up when it has been due for longer than this, counted from when it first was, or from when a
   * person retried it. (Default: 7 days)
   */
  giveUpAfter?: Duration;
  /** A call that has failed this often is given up; at least 1. (Default: no limit) */
  maxAttempts?: number;
}

/**
 * A schedule, or a function of the error and of the attempt that failed (1 for the first): milliseconds to wait, or `false`
 * to give up. Where the function throws or returns anything else, the default schedule is asked.
 */
export type Retry = RetrySchedule | ((error: unknown, attempt: number) => number | false);

/** At least 32 random bytes: a text stands for its UTF-8, also where it looks like base64 or hex. */
export type SigningKey = string | Uint8Array | KeyObject;

/** How calls are signed, with HMAC-SHA256, and what is taken for signed. */
export interface SigningOptions {
  /** The first one signs; a call that matches any of them runs. */
  keys: readonly SigningKey[];
  /**
   * `true`: calls without a signature run, too; those with a wrong one still don't. For the time in which the calls that were
   * stored before signing was switched on run out. (Default: `false`)
   */
  allowUnsigned?: boolean;
}
