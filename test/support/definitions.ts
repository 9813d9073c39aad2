import { AsyncResource } from "node:async_hooks";
import { superjsonCodec } from "../../src/codec.js";
import { type FunctionDefinition, Registry } from "../../src/registry.js";
import { resolveRetry } from "../../src/run/retry.js";
import type { RunContext } from "../../src/run/run.js";
import { LazyAbort } from "../../src/run/lazy-abort.js";
import { Overtime } from "../../src/run/overtime.js";
import { Runs } from "../../src/run/runs.js";
import type { Slots } from "../../src/run/slots.js";
import { Suspects } from "../../src/run/suspects.js";
import type { StoredCall } from "../../src/store/stored-call.js";
import type { StreamLeaseKeeper } from "../../src/strategies/stream-lease.js";

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
    onExhausted: "block",
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
    suspectRuns: 0,
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
    runs: new Runs(),
    overtime: new Overtime(),
    readPayload: () => Promise.resolve(undefined),
    showsArguments: () => true,
    ...overrides,
  };
}

/** The slots of an outbox, and what runs suspects in them. */
export function slotsWithSuspects(slots: Slots) {
  return { slots, suspects: new Suspects({ slots, runs: new Runs(), maxCrashes: 5 }) };
}

/** A keeper whose lease is always held. */
export function heldKeeper(): StreamLeaseKeeper {
  const keeper: Pick<StreamLeaseKeeper, "isLost" | "isSure" | "makeSure" | "begin" | "end"> = {
    isLost: false,
    isSure: true,
    makeSure: () => Promise.resolve(),
    begin: () => new LazyAbort(),
    end: () => undefined,
  };
  return keeper as StreamLeaseKeeper;
}
