import type { AsyncResource } from "node:async_hooks";
import { decodePayload } from "../codec.js";
import { RunTimeoutError, UndecodablePayloadError } from "../errors.js";
import type { FunctionDefinition, Registry } from "../registry.js";
import type { Signing } from "../signing.js";
import { textOf } from "../store/key-name.js";
import type { StoredCall } from "../store/stored-call.js";
import type { Call, CurrentCall } from "../types.js";
import { type Running, RunningCall, whileRunning } from "./current-call.js";
import { headersOf, parseHeaders } from "./headers.js";
import type { LazyAbort } from "./lazy-abort.js";
import type { Limited, Overtime } from "./overtime.js";
import type { Runs } from "./runs.js";

/** How a run ended. `call` carries the arguments as far as they could be decoded. */
export interface Outcome {
  readonly call: Call;
  /** Counts this run. */
  readonly attempt: number;
  readonly durationMs: number;
  readonly result: { kind: "succeeded" } | { kind: "failed"; error: unknown; isAbandoned: boolean };
}

/** What every run of an outbox shares. */
export interface RunContext {
  registry: Registry;
  /** The async context of `createOutbox`: a run sees no request and no transaction of whoever committed its call. */
  context: AsyncResource;
  abandonAfterMs: number;
  runs: Runs;
  overtime: Overtime;
  /** Looked at before anything of a call is decoded. */
  signing?: Signing | undefined;
  readPayload(seq: StoredCall["seq"]): Promise<string | undefined>;
  /** Whether the arguments are shown to somebody once a run has succeeded: until that is settled, hundreds of runs would keep theirs. */
  showsArguments(): boolean;
}

/** Who wants to know how a run went. */
export interface RunListener {
  /** Is called once, and never before `start` has returned. */
  ended(outcome: Outcome): void;
}

/**
 * Runs a call's function once, and tells how that went: whatever goes wrong is the outcome.
 *
 * @param abort aborts the run when its lease is lost
 */
export function start(
  stored: StoredCall,
  definition: FunctionDefinition,
  abort: LazyAbort,
  context: RunContext,
  listener: RunListener,
): void {
  new Run(stored, definition, abort, context, listener).start();
}

/** `start`, for those who have time to wait. Never rejects. */
export function run(
  stored: StoredCall,
  definition: FunctionDefinition,
  abort: LazyAbort,
  context: RunContext,
): Promise<Outcome> {
  return new Promise((resolve) => start(stored, definition, abort, context, { ended: resolve }));
}

const SUCCEEDED: Outcome["result"] = { kind: "succeeded" };
const GOING_ON: Outcome["result"] = { kind: "failed", error: undefined, isAbandoned: false };

/** A run, and once it has ended, its outcome. What only few ask for is made when they do. */
class Run implements Limited, Running, Outcome {
  readonly #stored: StoredCall;
  readonly #definition: FunctionDefinition;
  readonly #abort: LazyAbort;
  readonly #context: RunContext;
  readonly #listener: RunListener;
  readonly #startedAt = performance.now();
  #args = NONE;
  #call: Call | undefined;
  #currentCall: CurrentCall | undefined;
  #timeout: NodeJS.Timeout | undefined;
  #abandonment: NodeJS.Timeout | undefined;
  hasEnded = false;
  durationMs = 0;
  result = GOING_ON;

  constructor(
    stored: StoredCall,
    definition: FunctionDefinition,
    abort: LazyAbort,
    context: RunContext,
    listener: RunListener,
  ) {
    this.#stored = stored;
    this.#definition = definition;
    this.#abort = abort;
    this.#context = context;
    this.#listener = listener;
  }

  get call(): Call {
    return (this.#call ??= toCall(this.#stored, this.#args));
  }

  get attempt(): number {
    return this.#stored.attempts + 1;
  }

  get currentCall(): CurrentCall {
    return (this.#currentCall ??= new RunningCall(this.#stored, this.#abort));
  }

  start(): void {
    const { context, runs, overtime } = this.#context;
    runs.begin(this);
    overtime.watch(this);
    const failed = (error: unknown) => this.#end({ kind: "failed", error, isAbandoned: false });
    try {
      const running = context.runInAsyncScope(whileRunning, undefined, this);
      running.then(() => this.#end(SUCCEEDED), failed);
    } catch (error) {
      queueMicrotask(() => failed(error));
    }
  }

  /** Aborts the run at its timeout, and waits for it all the same, until it is abandoned: then it may still be going on. */
  limit(): void {
    const { timeoutMs } = this.#definition;
    this.#stored.keepAlone?.();
    const goneMs = performance.now() - this.#startedAt;
    const abandonAfterMs = Math.max(this.#context.abandonAfterMs, timeoutMs);
    this.#timeout = setTimeout(() => this.#abort.abort(timedOut(this.#definition)), timeoutMs - goneMs);
    this.#abandonment = setTimeout(() => {
      const error = abandonedAfter(abandonAfterMs, this.#definition);
      this.#end({ kind: "failed", error, isAbandoned: true });
    }, abandonAfterMs - goneMs);
  }

  execute(): Promise<unknown> {
    const { payload, seq } = this.#stored;
    if (payload === undefined) return this.#context.readPayload(seq).then((read) => this.#callWith(this.#decode(read)));
    return Promise.resolve(this.#callWith(this.#decode(payload)));
  }

  #callWith(args: unknown[] | Promise<unknown[]>): unknown {
    if (!Array.isArray(args)) return args.then((upcasted) => this.#callWith(upcasted));
    // While a large payload was read, say, or this process stood still, the lease may have ended.
    return this.#abort.isSure ? this.#callFunction(args) : this.#abort.makeSure().then(() => this.#callFunction(args));
  }

  #callFunction(args: unknown[]): unknown {
    if (this.hasEnded) throw new Error("abandoned before its function was called");
    this.#abort.throwIfAborted();
    this.#args = args;
    return this.#definition.fn(...(args as never[]));
  }

  #decode(payload: string | undefined): unknown[] | Promise<unknown[]> {
    const { id, codec: codecName, headers, version } = this.#stored;
    if (payload === undefined) throw new UndecodablePayloadError(`call ${id} is no longer stored`);
    this.#context.signing?.verify(this.#stored, payload);
    const codec = this.#context.registry.codec(this.#definition, codecName);
    if (!codec) {
      throw new UndecodablePayloadError(
        `call ${id} was encoded by the codec "${codecName}", which this process does not know; pass it to ${this.#definition.name} or to createOutbox`,
      );
    }
    // Without its tenant, say, a call would be another one.
    if (!parseHeaders(headers))
      throw new UndecodablePayloadError(`the headers of call ${id} are no JSON object of texts`);
    const args = decodePayload(codec, payload);
    return version === this.#definition.version ? args : upcast(args, this.#stored, this.#definition);
  }

  #end(result: Outcome["result"]): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    clearTimeout(this.#timeout);
    clearTimeout(this.#abandonment);
    this.#context.runs.end(this);
    this.durationMs = performance.now() - this.#startedAt;
    this.result = result;
    if (result === SUCCEEDED && !this.#context.showsArguments()) this.#args = NONE;
    this.#listener.ended(this);
  }
}

const NONE: readonly unknown[] = [];

/**
 * A stored call as events show it.
 *
 * @param args (Default: not decoded yet)
 */
export function toCall(stored: StoredCall, args = NONE): Call {
  const call: Call = {
    id: stored.id,
    function: stored.functionName,
    stream: stored.stream,
    strategy: stored.strategy,
    args,
    headers: headersOf(stored.headers),
    createdAt: new Date(stored.createdAtMs),
  };
  const { keyName } = stored as { keyName?: string };
  const orderingKey = keyName === undefined ? stored.orderingKey.toString() : textOf(keyName);
  if (orderingKey !== "") call.orderingKey = orderingKey;
  return call;
}

async function upcast(args: unknown[], stored: StoredCall, definition: FunctionDefinition): Promise<unknown[]> {
  if (stored.version < 1 || !definition.upcast)
    throw new UndecodablePayloadError(`call ${stored.id} has the version ${stored.version}; the first one is 1`);
  const upcasted: unknown = await definition.upcast(args, stored.version);
  if (Array.isArray(upcasted)) return upcasted as unknown[];
  throw new UndecodablePayloadError(
    `${definition.name}: upcast gave ${upcasted === null ? "null" : typeof upcasted} for the arguments of version ${stored.version}; it must return an array of arguments`,
  );
}

function timedOut(definition: FunctionDefinition): RunTimeoutError {
  return new RunTimeoutError(`${definition.name} has been running for its timeout of ${definition.timeoutMs} ms`);
}

function abandonedAfter(ms: number, definition: FunctionDefinition): RunTimeoutError {
  return new RunTimeoutError(
    `${definition.name} had not returned after ${ms} ms and was abandoned; make it honour currentCall().signal`,
  );
}
