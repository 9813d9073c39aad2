import type { AsyncResource } from "node:async_hooks";
import { decodePayload } from "../codec.js";
import { RunTimeoutError, UndecodablePayloadError } from "../errors.js";
import type { FunctionDefinition, Registry } from "../registry.js";
import type { Signing } from "../signing.js";
import type { StoredCall } from "../store/stored-call.js";
import type { Call, CurrentCall, Headers } from "../types.js";
import { withCurrentCall } from "./current-call.js";
import type { Runs } from "./runs.js";

/** How a run ended. `call` carries the arguments as far as they could be decoded. */
export interface Outcome {
  call: Call;
  /** Counts this run. */
  attempt: number;
  durationMs: number;
  result: { kind: "succeeded" } | { kind: "failed"; error: unknown; isAbandoned: boolean };
}

/** What every run of an outbox shares. */
export interface RunContext {
  registry: Registry;
  /** The async context of `createOutbox`: a run sees no request and no transaction of whoever committed its call. */
  context: AsyncResource;
  abandonAfterMs: number;
  runs: Runs;
  /** Looked at before anything of a call is decoded. */
  signing?: Signing | undefined;
  readPayload(seq: StoredCall["seq"]): Promise<string | undefined>;
}

/**
 * Runs a call's function once. Never rejects: whatever goes wrong is the outcome.
 *
 * @param abort aborts the run when its lease is lost
 */
export async function run(
  stored: StoredCall,
  definition: FunctionDefinition,
  abort: AbortController,
  context: RunContext,
): Promise<Outcome> {
  const startedAt = performance.now();
  const call = toCall(stored);
  const current: CurrentCall = {
    id: call.id,
    attempt: stored.attempts + 1,
    fence: stored.fence,
    stream: call.stream,
    headers: call.headers,
    signal: abort.signal,
    createdAt: call.createdAt,
  };
  const running = limited(definition, context.abandonAfterMs, abort, (limits) =>
    context.context.runInAsyncScope(() =>
      withCurrentCall(current, () => execute(stored, call, definition, limits, abort.signal, context)),
    ),
  );
  const result = await context.runs.during(running);
  return { call, attempt: current.attempt, durationMs: performance.now() - startedAt, result };
}

/** A stored call as events show it, its arguments not decoded yet. */
export function toCall(stored: StoredCall): Call {
  const orderingKey = stored.orderingKey.toString();
  return {
    id: stored.id,
    function: stored.functionName,
    stream: stored.stream,
    strategy: stored.strategy,
    ...(orderingKey === "" ? {} : { orderingKey }),
    args: [],
    headers: parseHeaders(stored.headers) ?? {},
    createdAt: new Date(stored.createdAtMs),
  };
}

/** @returns undefined where the text is not what is stored for headers: somebody has edited the table */
export function parseHeaders(text: string): Headers | undefined {
  try {
    const headers: unknown = JSON.parse(text);
    const isObject = typeof headers === "object" && headers !== null && !Array.isArray(headers);
    return isObject && Object.values(headers).every((value) => typeof value === "string")
      ? (headers as Headers)
      : undefined;
  } catch {
    return undefined;
  }
}

async function decode(stored: StoredCall, definition: FunctionDefinition, context: RunContext): Promise<unknown[]> {
  const payload = stored.payload ?? (await context.readPayload(stored.seq));
  if (payload === undefined) throw new UndecodablePayloadError(`call ${stored.id} is no longer stored`);
  context.signing?.verify(stored, payload);
  const codec = context.registry.codec(definition, stored.codec);
  if (!codec) {
    throw new UndecodablePayloadError(
      `call ${stored.id} was encoded by the codec "${stored.codec}", which this process does not know; pass it to ${definition.name} or to createOutbox`,
    );
  }
  // Without its tenant, say, a call would be another one.
  if (!parseHeaders(stored.headers))
    throw new UndecodablePayloadError(`the headers of call ${stored.id} are no JSON object of texts`);
  return upcast(decodePayload(codec, payload), stored, definition);
}

async function upcast(args: unknown[], stored: StoredCall, definition: FunctionDefinition): Promise<unknown[]> {
  if (stored.version === definition.version) return args;
  if (stored.version < 1 || !definition.upcast)
    throw new UndecodablePayloadError(`call ${stored.id} has the version ${stored.version}; the first one is 1`);
  const upcasted: unknown = await definition.upcast(args, stored.version);
  if (Array.isArray(upcasted)) return upcasted as unknown[];
  throw new UndecodablePayloadError(
    `${definition.name}: upcast gave ${upcasted === null ? "null" : typeof upcasted} for the arguments of version ${stored.version}; it must return an array of arguments`,
  );
}

interface Limits {
  isAbandoned: boolean;
}

async function execute(
  stored: StoredCall,
  call: Call,
  definition: FunctionDefinition,
  limits: Limits,
  signal: AbortSignal,
  context: RunContext,
): Promise<Outcome["result"]> {
  try {
    const args = await decode(stored, definition, context);
    if (limits.isAbandoned) throw new Error("abandoned before its arguments were there");
    // While a large payload was read, say, the lease may have been lost.
    signal.throwIfAborted();
    call.args = args;
    await definition.fn(...(args as never[]));
    return { kind: "succeeded" };
  } catch (error) {
    return { kind: "failed", error, isAbandoned: false };
  }
}

/** Aborts the run at its timeout, and waits for it all the same, until it is abandoned: then it may still be going on. */
async function limited(
  definition: FunctionDefinition,
  abandonAfterMs: number,
  abort: AbortController,
  work: (limits: Limits) => Promise<Outcome["result"]>,
): Promise<Outcome["result"]> {
  const limits: Limits = { isAbandoned: false };
  const afterMs = Math.max(abandonAfterMs, definition.timeoutMs);
  const timeout = setTimeout(() => abort.abort(timedOut(definition)), definition.timeoutMs);
  let abandon: NodeJS.Timeout | undefined;
  const abandoned = new Promise<Outcome["result"]>((resolve) => {
    abandon = setTimeout(() => {
      limits.isAbandoned = true;
      resolve({ kind: "failed", error: abandonedAfter(afterMs, definition), isAbandoned: true });
    }, afterMs);
  });
  try {
    return await Promise.race([work(limits), abandoned]);
  } finally {
    clearTimeout(timeout);
    clearTimeout(abandon);
  }
}

function timedOut(definition: FunctionDefinition): RunTimeoutError {
  return new RunTimeoutError(`${definition.name} has been running for its timeout of ${definition.timeoutMs} ms`);
}

function abandonedAfter(ms: number, definition: FunctionDefinition): RunTimeoutError {
  return new RunTimeoutError(
    `${definition.name} had not returned after ${ms} ms and was abandoned; make it honour currentCall().signal`,
  );
}
