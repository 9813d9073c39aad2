import { AsyncLocalStorage } from "node:async_hooks";
import type { StoredCall } from "../store/stored-call.js";
import type { Call, CurrentCall } from "../types.js";
import type { LazyAbort } from "./lazy-abort.js";

const current = new AsyncLocalStorage<CurrentCall>();

/** The call that the code asking runs for; undefined outside a run. */
export function currentCall(): CurrentCall | undefined {
  return current.getStore();
}

export function withCurrentCall<T>(call: CurrentCall, work: () => T): T {
  return current.run(call, work);
}

/** What a run shows its function. */
export class RunningCall implements CurrentCall {
  readonly id: string;
  readonly attempt: number;
  readonly fence: number;
  readonly stream: string;
  readonly headers: CurrentCall["headers"];
  readonly createdAt: Date;
  readonly #abort: LazyAbort;

  constructor(call: Call, { attempts, fence }: StoredCall, abort: LazyAbort) {
    this.id = call.id;
    this.attempt = attempts + 1;
    this.fence = fence;
    this.stream = call.stream;
    this.headers = call.headers;
    this.createdAt = call.createdAt;
    this.#abort = abort;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }
}
