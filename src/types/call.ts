/**
 * Who runs a call, and in what order. `publish-on-commit`: the process that committed it, right after the commit, many at
 * once, in no promised order; a relay takes what failed. `keep-order`: a relay alone, one at a time for each ordering key,
 * in the order of the commits.
 */
export type Strategy = "publish-on-commit" | "keep-order";

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
