import { AsyncLocalStorage } from "node:async_hooks";
import type { CurrentCall } from "../types.js";

const current = new AsyncLocalStorage<CurrentCall>();

/** The call that the code asking runs for; undefined outside a run. */
export function currentCall(): CurrentCall | undefined {
  return current.getStore();
}

export function withCurrentCall<T>(call: CurrentCall, work: () => T): T {
  return current.run(call, work);
}
