/**
 * The words of this library, as types.
 *
 * - **call**: one stored invocation: a function's name and its encoded arguments.
 * - **function**: what `saveToOutbox` wrapped, known by its registered name, never by its code.
 * - **stream**: a named lane of calls; `default` where none is given.
 * - **strategy**: who runs a call, and in what order: `publish-on-commit` or `keep-order`.
 * - **ordering key**: within a keep-order stream, the calls that must stay in order among themselves. Calls without one
 *   form a lane of their own.
 * - **run, attempt**: one execution of the function for a call; how many there were.
 * - **settle**: write down a run's outcome.
 * - **lease**: the right to run a call, or to serve a stream, until a moment on the database's clock, with a token that
 *   fences every settle.
 * - **relay, relayer**: one pass over due calls; the loop of passes.
 * - **due**: pending, and its `due_at` has passed. **running**: claimed under a live lease.
 * - **sent**: ran successfully and kept for the cleaner. **dead**: given up, kept until a person retries it.
 * - **blocked**: a keep-order head that failed and waits for its next attempt; its key waits behind it.
 * - **unroutable**: a call whose function this process has not registered.
 */
import type { Knex } from "knex";

/**
 * Who runs a call, and in what order. `publish-on-commit`: the process that committed it, right after the commit, many at
 * once, in no promised order; a relay takes what failed. `keep-order`: a relay alone, one at a time for each ordering key,
 * in the order of the commits.
 */
export type Strategy = "publish-on-commit" | "keep-order";

/** Milliseconds, or a text such as `"100ms"`, `"30s"`, `"7d"`. What a timer waits for (`timeout`, `lease`, …) is at most 24 days. */
export type Duration = number | string;

/** When calls are stored: in the transaction, or only once the run after the commit has failed. */
export type Persist = "always" | "on-failure";

/** Text values by name, stored beside the arguments and handed to every run: a trace context, a tenant. */
export type Headers = Readonly<Record<string, string>>;

/** What a save resolves to. */
export interface SavedCall {
  /** UUIDv7, fixed when the call is made: the idempotency key that every run of it sees. */
  id: string;
  /** The name under which the function is registered. */
  function: string;
  /** The stream that the call belongs to. */
  stream: string;
}

/** A call, as events show it. */
export interface Call {
  /** UUIDv7: the same in every run, and what the save resolved to. */
  id: string;
  /** The name under which the function was registered when the call was made. */
  function: string;
  /** Fixed when the call was made. */
  stream: string;
  /** Fixed when the call was made. */
  strategy: Strategy;
  /** Absent for calls without one, and for publish-on-commit. */
  orderingKey?: string;
  /** The decoded arguments; empty where the payload could not be decoded. */
  args: readonly unknown[];
  /** Empty where none were given. */
  headers: Headers;
  /** The database's clock when the call was stored; this process's for one of `persist: "on-failure"` that is not. */
  createdAt: Date;
}

/** What `currentCall()` gives the running function. */
export interface CurrentCall {
  /** UUIDv7, the same in every run: give it to the receiver as the idempotency key. */
  id: string;
  /** 1 for the first run. */
  attempt: number;
  /**
   * Rises with each claim of the call, or (keep-order) with each takeover of its stream. Keep the highest seen per id, or per
   * stream for keep-order, and refuse what is lower. Attempts of a keep-order call under one lease share it.
   */
  fence: number;
  /** The stream that the call belongs to. */
  stream: string;
  /** As given when the call was made; empty where none were. */
  headers: Headers;
  /** Aborts at the timeout (a `RunTimeoutError`), and when the lease is lost (a `LeaseLostError`). */
  signal: AbortSignal;
  /** When the call was stored, on the database's clock. */
  createdAt: Date;
}

/** Turns arguments into text and back. The name is stored with each call and must be known when it runs. */
export interface Codec {
  /** Stored with each call; 1 to 200 characters. Renaming a codec makes the calls stored before undecodable. */
  name: string;
  /** The text to store: well-formed, without NUL. What it throws refuses the call. */
  encode(args: readonly unknown[]): string;
  /** The arguments again, as many as there were. What it throws fails the run. Must never evaluate what it reads. */
  decode(text: string): unknown[];
}

/** How long a failed call waits before its next attempt, and when it is given up. keep-order calls never are. */
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
   * A call that fails when it is older than this is given up. The age is counted from the save, so that a delay counts too:
   * give a longer one to calls that are delayed for days. (Default: 7 days)
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
  /** Dead calls, lost leases of streams, and what a person should look at. */
  error: LogMethod;
}

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
  /** A run failed. Without `nextAttemptAt` there is no next one, and `dead` follows. */
  failed: { call: Call; source: RunSource; attempt: number; durationMs: number; error: unknown; nextAttemptAt?: Date };
  /**
   * A publish-on-commit call was given up: its retry policy or an `UnrecoverableError` said so. It stays stored, except one
   * of `persist: "on-failure"` that could not be stored: that is lost.
   */
  dead: { call: Call; source: RunSource; attempt: number; error: unknown };
  /** A keep-order head failed (after `failed`): its key waits behind it until `nextAttemptAt`. */
  blocked: { call: Call; error: unknown; nextAttemptAt: Date };
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

/** What `createOutbox` takes. */
export interface OutboxOptions {
  /** A knex instance of client `pg`, `mysql2` or `carteiro/pglite`. The outbox never closes it. */
  knex: Knex;
  /**
   * The schema (PostgreSQL) or database (MySQL) of the tables: letters, digits and underscores, at most 48. (Default: the
   * connection's own)
   */
  schema?: string;
  /** What the tables' names begin with: letters, digits and underscores, at most 48. (Default: `carteiro_`) */
  tablePrefix?: string;
  /** For functions that name none. (Default: `publish-on-commit`) */
  strategy?: Strategy;
  /**
   * For functions that name none. `on-failure` stores nothing unless the run after the commit failed, or found no free slot:
   * a crash before the run has ended loses the call. For publish-on-commit within `outbox.transaction`, or outside any
   * transaction where `requireTransaction` is `false`: there the call runs at once. In other transactions, and with a delay
   * or `runAt`, calls are stored all the same. Keep-order functions always store. (Default: `always`)
   */
  persist?: Persist;
  /** `false` keeps calls that succeeded, as sent, until the cleaner takes them. (Default: `true`) */
  deleteAfterSend?: boolean;
  /** How long the cleaner leaves sent calls, counted from their success. (Default: 7 days) */
  retention?: Duration;
  /**
   * `false`: a call made outside `outbox.transaction` is saved on its own; with `persist: "on-failure"` it runs at once, and is
   * stored only if that fails. It cannot see a transaction of `knex.transaction`: pass that by `.in(trx)`. (Default: `true`)
   */
  requireTransaction?: boolean;
  /** When failed calls are tried again. (Default: after 1 s, doubling up to 10 min, each ±20 %, for 7 days) */
  retry?: Retry;
  /** How long a run may take before `currentCall().signal` aborts; at least 1 ms. (Default: 30 s) */
  timeout?: Duration;
  /**
   * How long a run may take before it is taken for failed though it has not returned; never before its timeout. `stop`,
   * `close` and `idle` wait at most that long for it. (Default: 5 min)
   */
  abandonAfter?: Duration;
  /**
   * How long a claim holds unless renewed, which happens three times in it; at least 100 ms. The calls of a process that died
   * are taken up after it. (Default: 60 s)
   */
  lease?: Duration;
  /**
   * Runs at once in this process, of both strategies together; at least 1. Also how many streams a relayer serves at once:
   * where more are due, busy ones take turns. (Default: 16)
   */
  concurrency?: number;
  /**
   * Connections kept apart from the application's pool for claims, leases and settling, so that a pool full of transactions
   * starves no lease. 0 shares the pool. (Default: 2; on PGlite, which has one connection, 0)
   */
  ownConnections?: number;
  /** How often a relayer looks for due calls, also within a stream that it serves; at least 1 ms. (Default: 1 s) */
  pollInterval?: Duration;
  /** What else wakes a relayer: with `local`, a commit of this process. (Default: `{local: true}`) */
  wakeUps?: { local?: boolean };
  /**
   * Saves of one ordering key wait for each other's transactions, so that their order is that of the commits. `false`: they
   * don't, and a call that commits late may be overtaken. (Default: `true`)
   */
  writersLock?: boolean;
  /** The most that a call's encoded arguments and headers may have together. (Default: 1,048,576, which is 1 MiB) */
  maxPayloadBytes?: number;
  /** For functions that name none. (Default: superjson, an instance of our own; see `createSuperjsonCodec`) */
  codec?: Codec;
  /** One line per outcome, never the arguments. (Default: silent) */
  logger?: Logger;
}

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
  /** Runs that failed and will be tried again, keep-order heads among them. */
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

/**
 * How a call stands, as a list shows it. `pending`: its due moment lies ahead. `due`: whoever comes first may run it. `running`:
 * a publish-on-commit call under a live lease; a keep-order call stays what it was while it runs, mostly `due`. `blocked`: a
 * keep-order head that failed. `waiting`: a keep-order call behind such a head, or behind or as one that is delayed or
 * unroutable. `sent`: ran, and kept for the cleaner. `dead`: given up.
 */
export type CallState = "pending" | "due" | "running" | "blocked" | "waiting" | "sent" | "dead";

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
  /** Runs whose outcome was written down. */
  attempts: number;
  /** Of the last run that failed: its stack, at most 4000 characters. */
  lastError?: string;
  /** When it was stored. */
  createdAt: Date;
  /** When it is, or was, due; while a publish-on-commit call runs, when its lease ends. */
  dueAt: Date;
}

/** What `outbox.calls.list` takes. Each one narrows the list. */
export interface ListOptions {
  /** Only calls of this stream. (Default: every stream) */
  stream?: string;
  /** Only calls in this state. (Default: every state) */
  state?: CallState;
  /** Only calls of this function. (Default: every function) */
  function?: string;
  /** At most so many calls, from 1 to 1000. (Default: 100) */
  limit?: number;
  /** The id that the page before ended with: a call that is still stored. (Default: from the first call on) */
  after?: string;
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
  /** Calls that were given up. */
  dead: number;
  /** Ordering keys held back behind a failed, delayed or unroutable head. */
  blockedKeys: number;
  /** For how long the oldest call has been due, those behind a failed head included. Absent where none is due. */
  oldestDueAgeMs?: number;
}
