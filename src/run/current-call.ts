import { AsyncLocalStorage } from "node:async_hooks";
import type { StoredCall } from "../store/stored-call.js";
import { headersOf } from "./headers.js";
import type { CurrentCall } from "../types.js";
import type { LazyAbort } from "./lazy-abort.js";

/** A run that can tell its function about itself. */
export interface Running {
  readonly currentCall: CurrentCall;
  execute(): Promise<unknown>;
}

const current = new AsyncLocalStorage<Running>();

/** The call that the code asking runs for; undefined outside a run. */
export function currentCall(): CurrentCall | undefined {
  return current.getStore()?.currentCall;
}

/** Executes the run, which is the current one meanwhile. */
export function whileRunning(run: Running): Promise<unknown> {
  return current.run(run, execute, run);
}

function execute(run: Running): Promise<unknown> {
  return run.execute();
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

  constructor({ id, attempts, fence, stream, headers, createdAtMs }: StoredCall, abort: LazyAbort) {
    this.id = id;
    this.attempt = attempts + 1;
    this.fence = fence;
    this.stream = stream;
    this.headers = headersOf(headers);
    this.createdAt = new Date(createdAtMs);
    this.#abort = abort;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }
}
