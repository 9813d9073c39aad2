import type { Call, Strategy } from "./call.js";

/** Who ran the call: the process that committed it, right after the commit, or a relay. */
export type RunSource = "commit" | "relay";

/**
 * The payload of each event. Events tell of this process's own doings alone. Those that tell a run's outcome (`published`,
 * `failed`, `dead`, `blocked`, `abandoned`) come once that is written down; a success of `persist: "on-failure"` is written
 * nowhere, and told at once. If the link breaks while an outcome is written, neither `published` nor `leaseLost` may follow:
 * the log tells, and the call may run again. `attempt` is 1 for the first run, `durationMs` counts milliseconds.
 */
export interface OutboxEvents {
  /** Written in a transaction, which may still roll back. `createdAt` is not known yet. */
  saved: { call: Omit<Call, "createdAt"> };
  /** A run succeeded. */
  published: { call: Call; source: RunSource; attempt: number; durationMs: number };
  /** A run failed. Without `nextAttemptAt` there is no next one by itself, and `dead`, `parked` or `blocked` follows. */
  failed: { call: Call; source: RunSource; attempt: number; durationMs: number; error: unknown; nextAttemptAt?: Date };
  /**
   * A call was given up: its retry policy or an `UnrecoverableError` said so, or it had ended its process too often. A
   * keep-order one only with `onExhausted: "skip"`. It stays stored, except one of `persist: "on-failure"` that could not be
   * stored: that is lost.
   */
  dead: { call: Call; source: RunSource; attempt: number; error: unknown };
  /**
   * A keep-order head failed (after `failed`): its key waits behind it until `nextAttemptAt`; without that, since it has ended
   * its process too often, until a person retries or skips it.
   */
  blocked: { call: Call; error: unknown; nextAttemptAt?: Date };
  /** A keep-order head is exhausted (after `failed`), and `onExhausted: "park"` set its key aside until a person resumes it. */
  parked: { call: Call; error: unknown };
  /** A due call whose function, or version, this process has not registered. It was neither run, nor counted, nor dropped. */
  unroutable: { id: string; function: string; stream: string; strategy: Strategy };
  /** A lease ran out under a run, or (without `call`) under a stream being served: what was running could not be settled. */
  leaseLost: { stream: string; call?: Call };
  /** A run that had not returned by `abandonAfter` was given up (before `failed`); it may overlap the call's next attempt. */
  abandoned: { call: Call; attempt: number; durationMs: number };
  /** A cleaner has ended; `deleted` calls are gone. Not after a dry run. */
  cleaned: { deleted: number };
}

/** The name of an event. */
export type OutboxEventName = keyof OutboxEvents;

/** May be async; nobody waits for it. One that throws or rejects is logged and harms nothing. */
export type OutboxListener<Name extends OutboxEventName> = (event: OutboxEvents[Name]) => unknown;
