import type { Knex } from "knex";
import type { Headers, SavedCall, Strategy } from "./call.js";
import type { Codec, Duration, OnExhausted, Persist, Retry } from "./settings.js";

/** The same type; what is written in its place is taken for a tuple rather than for an array. */
export type AsTuple<Args extends readonly unknown[]> = Args & {
  /** Names a first place, which makes a literal a tuple. */
  readonly 0?: unknown;
};

/** What `saveToOutbox` takes beside the function. */
export interface FunctionOptions<Args extends readonly unknown[]> {
  /**
   * Stored with each call: how a call finds its function again, also after a restart. 1 to 200 characters. Needed where a
   * bundler renames functions. (Default: the function's own name, of at least three characters)
   */
  name?: string;
  /** Earlier names, whose stored calls this function runs. (Default: none) */
  aliases?: readonly string[];
  /** The lane that its calls belong to: 1 to 200 characters. (Default: `default`) */
  stream?: string;
  /** Who runs its calls, and in what order. (Default: the outbox's) */
  strategy?: Strategy;
  /**
   * keep-order only: the calls that return one key stay in order among themselves, and those of other keys go on beside them.
   * 1 to 255 bytes, no NUL; keys are compared byte by byte. (Default: none; all its calls form one lane)
   */
  orderingKey?: (...args: Args) => string;
  /** When its failed calls are tried again. (Default: the outbox's) */
  retry?: Retry;
  /** How long a run may take before `currentCall().signal` aborts. (Default: the outbox's) */
  timeout?: Duration;
  /** How its arguments are stored. (Default: the outbox's) */
  codec?: Codec;
  /** The version of the arguments' shape, stored with each call. Calls of a newer one are unroutable here. (Default: 1) */
  version?: number;
  /** Turns the arguments of an older version into today's; required where `version` is above 1. (Default: none) */
  upcast?: (args: unknown[], fromVersion: number) => AsTuple<Args> | Promise<AsTuple<Args>>;
  /** When its calls are stored. `on-failure` is refused for keep-order, which always stores. (Default: the outbox's) */
  persist?: Persist;
  /** `false` keeps calls that succeeded, as sent, until the cleaner takes them. (Default: the outbox's) */
  deleteAfterSend?: boolean;
  /**
   * `false`: a call made outside `outbox.transaction` is saved on its own, or with `persist: "on-failure"` runs at once.
   * (Default: the outbox's)
   */
  requireTransaction?: boolean;
  /** keep-order only: what becomes of a call that is exhausted. (Default: `block`) */
  onExhausted?: OnExhausted;
}

/** What one call may say for itself. */
export interface PerCall {
  /** Due this long after it is saved. A keep-order call holds back its ordering key until then. (Default: 0) */
  delay?: Duration;
  /**
   * Due at this moment of the database's clock; instead of `delay`. One that has passed is left to the relay.
   * (Default: at once)
   */
  runAt?: Date;
  /** Stored with the call, and shown to every run and event. (Default: none) */
  headers?: Headers;
  /** Instead of what the function's `orderingKey` returns; keep-order only. (Default: the function's) */
  orderingKey?: string;
}

/** A wrapped function: it takes the arguments of the original and stores the call. It needs no `this`. */
export interface SavedFunction<Args extends readonly unknown[], Result> {
  /**
   * Stores a call in the ambient transaction, with the arguments as they are now. Calls are written together just before
   * the COMMIT, so that what goes wrong there, such as missing tables, rejects `outbox.transaction`.
   *
   * @throws {@link TransactionRequiredError} outside `outbox.transaction`, unless `requireTransaction` is false
   * @throws {@link TransactionClosedError} the transaction was over already: the call was not awaited in it
   * @throws {@link UnserializableArgumentError} an argument would not come back as it went in
   * @throws {@link PayloadTooLargeError} the encoded call exceeds `maxPayloadBytes`
   * @throws {@link InvalidOptionError} `orderingKey` returned a key that cannot be used
   */
  (...args: Args): Promise<SavedCall>;
  /**
   * The same, stored in `trx`: any knex transaction on the outbox's database, nested ones too. One that `outbox.transaction`
   * did not begin has the call written at once.
   *
   * @throws {@link InvalidOptionError} `trx` is no transaction, or an option cannot be used
   * @throws {@link TransactionClosedError} `trx` was over already
   * @throws {@link NotMigratedError} the tables are missing
   */
  in(trx: Knex.Transaction, perCall?: PerCall): (...args: Args) => Promise<SavedCall>;
  /** The same, with options for one call: `sendReceipt.with({delay: "1h"})(order)`. */
  with(perCall: PerCall & { trx?: Knex.Transaction }): (...args: Args) => Promise<SavedCall>;
  /** The function that was wrapped: it runs at once and stores nothing. */
  readonly original: (...args: Args) => Result;
  /** The name under which it is registered. */
  readonly functionName: string;
}

/** Any function: its parameters are what a call takes. */
export type AnyFunction = (...args: never[]) => unknown;

/** Wraps a function: calling what it returns stores the call. The parameters stay those of the function. */
export type SaveToOutbox = <Fn extends AnyFunction>(
  fn: Fn,
  options?: FunctionOptions<Parameters<Fn>>,
) => SavedFunction<Parameters<Fn>, ReturnType<Fn>>;
