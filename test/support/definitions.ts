import { AsyncResource } from "node:async_hooks";
import { superjsonCodec } from "../../src/codec.js";
import { type FunctionDefinition, Registry } from "../../src/registry.js";
import { resolveRetry } from "../../src/run/retry.js";
import type { RunContext } from "../../src/run/run.js";
import type { StoredCall } from "../../src/store/stored-call.js";

/** A wrapped function as the registry has it, for tests of what runs it without a database. */
export function definitionOf(overrides: Partial<FunctionDefinition>): FunctionDefinition {
  return {
    name: "note",
    aliases: [],
    stream: "default",
    strategy: "publish-on-commit",
    persist: "always",
    deleteAfterSend: true,
    requireTransaction: true,
    retry: resolveRetry("retry", {}),
    timeoutMs: 30_000,
    codec: superjsonCodec,
    version: 1,
    fn: () => undefined,
    ...overrides,
  };
}

/** A call of `note` without arguments, as read from the table. */
export function storedCall(overrides: Partial<StoredCall> = {}): StoredCall {
  return {
    seq: 1,
    id: "call-1",
    functionName: "note",
    stream: "default",
    strategy: "publish-on-commit",
    orderingKey: Buffer.alloc(0),
    codec: superjsonCodec.name,
    version: 1,
    payload: superjsonCodec.encode([]),
    headers: "{}",
    attempts: 0,
    fence: 1,
    createdAtMs: 0,
    ageMs: 0,
    clockOffsetMs: 0,
    ...overrides,
  };
}

export function runContext(overrides: Partial<RunContext> = {}): RunContext {
  return {
    registry: new Registry(superjsonCodec),
    context: new AsyncResource("test"),
    abandonAfterMs: 300_000,
    readPayload: () => Promise.resolve(undefined),
    ...overrides,
  };
}
