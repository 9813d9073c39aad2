import type { Pass } from "../run/pass.js";
import type { FunctionDefinition } from "../registry.js";
import { errorText } from "../run/error-text.js";
import { delayAfter } from "../run/retry.js";
import { type Outcome, run } from "../run/run.js";
import type { QueuedCall } from "../store/fetch-stream.js";
import type { HeldHead, StreamLease, StreamSettlement } from "../store/serve-stream.js";
import type { Seq } from "../store/dialect.js";
import type { Store } from "../store/store.js";
import type { StrategyParts } from "./parts.js";
import { reportOutcome } from "./report.js";
import type { StreamLeaseKeeper } from "./stream-lease.js";

export interface LaneOptions extends Omit<StrategyParts, "store" | "leaseMs"> {
  store: Pick<Store, "fetchHeld">;
  key: Buffer;
  /** The first calls of the key, in order, from its head. */
  calls: QueuedCall[];
  /** The key stands aside: what follows is read by the key. */
  isAside: boolean;
  lease: StreamLease;
  pass: Pass;
  keeper: StreamLeaseKeeper;
  pollIntervalMs: number;
  /** @returns whether it was written down; false where the lease is lost */
  settle: (settlement: StreamSettlement) => Promise<boolean>;
  /** The first of these calls that are not left to the next pass. */
  partOfPass: (calls: QueuedCall[]) => QueuedCall[];
  onUnroutable: (call: QueuedCall) => void;
}

/** Runs that have ended and are not settled yet: they would be repeated after a crash. */
const MOST_UNSETTLED = 100;
/** Many keys may come back at once, each with a fetch of its own in memory. */
const FETCH_LENGTH = 32;

/** The calls of one ordering key, one after the other. */
export class Lane {
  readonly #options: LaneOptions;
  readonly #calls: QueuedCall[];
  readonly #settling = new Set<Promise<void>>();
  /** Calls that ran and are still in the table, as far as is known here. */
  readonly #unsettled = new Set<Seq>();
  #isAside: boolean;
  #isEnding = false;
  #head: QueuedCall | undefined;
  #runsSince: number | undefined;
  #failure: { error: unknown } | undefined;

  constructor(options: LaneOptions) {
    this.#options = options;
    this.#calls = options.calls;
    this.#isAside = options.isAside;
  }

  /** Resolves when the key's calls were run and settled, or its head cannot go on, or the pass is over. */
  async run(): Promise<void> {
    let isExhausted = false;
    while (this.#goesOn) {
      const call = await this.#next();
      isExhausted = call === undefined;
      if (!call || !(await this.#serve(call))) break;
      if (this.#settling.size >= MOST_UNSETTLED) await Promise.race(this.#settling);
    }
    this.#isEnding = true;
    if (isExhausted && this.#isAside && this.#goesOn) this.#settle({ kind: "release", key: this.#options.key });
    while (this.#settling.size > 0) await Promise.all(this.#settling);
    if (this.#failure) throw this.#failure.error;
  }

  get #goesOn(): boolean {
    return !this.#options.pass.isOver && !this.#options.keeper.isLost && !this.#failure;
  }

  get isAside(): boolean {
    return this.#isAside;
  }

  /** Its calls shall leave the line while it goes on. @returns what to leave with; undefined where it cannot */
  stepAside(): { head: HeldHead; unsettled: Seq[] } | undefined {
    if (this.#isAside || this.#isEnding || !this.#head) return undefined;
    this.#isAside = true;
    return { head: { seq: this.#head.seq, attempts: this.#head.attempts }, unsettled: [...this.#unsettled] };
  }

  /** Whether the run that is going on has taken so long already. */
  hasRunFor(ms: number): boolean {
    return this.#runsSince !== undefined && performance.now() - this.#runsSince >= ms;
  }

  async #next(): Promise<QueuedCall | undefined> {
    const { store, lease, key, partOfPass } = this.#options;
    if (this.#calls.length === 0 && this.#isAside && this.#head) {
      this.#calls.push(...partOfPass(await store.fetchHeld(lease, key, this.#head.seq, FETCH_LENGTH)));
    }
    return this.#calls.shift();
  }

  /** @returns whether the next call of the key may follow */
  async #serve(call: QueuedCall): Promise<boolean> {
    this.#head = call;
    if (!call.isDue) return this.#hold({ kind: "hold", state: "waiting", due: "when-head-is-due", head: call });
    const definition = this.#options.registry.find(call);
    if (!definition) return this.#unroutable(call);
    const outcome = await this.#runInSlot(call, definition);
    if (outcome === undefined) return false;
    return outcome.result.kind === "succeeded"
      ? this.#sent(call, definition, outcome)
      : this.#block(call, definition, outcome, outcome.result.error);
  }

  async #runInSlot(call: QueuedCall, definition: FunctionDefinition): Promise<Outcome | undefined> {
    const { slots, pass, keeper, context } = this.#options;
    await slots.take();
    try {
      if (!keeper.isSure) await keeper.renew();
      const reserved = await pass.reserve(1);
      const goesOn = this.#goesOn && reserved === 1;
      pass.use(goesOn ? 1 : 0, reserved);
      if (!goesOn) return undefined;
      this.#runsSince = performance.now();
      return await keeper.under((abort) => run(call, definition, abort, context));
    } finally {
      this.#runsSince = undefined;
      slots.give();
    }
  }

  /** The next call follows at once; the settlements of many go together. */
  #sent(call: QueuedCall, definition: FunctionDefinition, outcome: Outcome): true {
    this.#unsettled.add(call.seq);
    this.#settle({ kind: definition.deleteAfterSend ? "delete" : "mark-sent", seq: call.seq }, () => {
      this.#unsettled.delete(call.seq);
      this.#options.pass.count("published");
      reportOutcome(this.#options, outcome, "relay", undefined, false);
    });
    return true;
  }

  /** The head failed: its key waits behind it, however often it has failed. */
  #block(call: QueuedCall, definition: FunctionDefinition, outcome: Outcome, error: unknown): false {
    const { logger, events, pass } = this.#options;
    const failure = { error, attempt: outcome.attempt, ageMs: call.ageMs + outcome.durationMs };
    const delayMs = delayAfter(definition, failure, logger);
    const inMs = delayMs === false ? definition.retry.longestDelayMs : delayMs;
    const head = { seq: call.seq, attempts: outcome.attempt, error: errorText(error) };
    return this.#hold({ kind: "hold", state: "blocked", due: { inMs }, head }, () => {
      const nextAttemptAt = new Date(Date.now() + call.clockOffsetMs + inMs);
      const { id, stream, orderingKey } = outcome.call;
      pass.count("failed");
      pass.countBlocked({ id, stream, ...(orderingKey === undefined ? {} : { orderingKey }) });
      reportOutcome(this.#options, outcome, "relay", nextAttemptAt, false);
      events.emit("blocked", { call: outcome.call, error, nextAttemptAt });
    });
  }

  /** Not run, not counted, not dropped: another process may know the function, and shall have the stream. */
  #unroutable(call: QueuedCall): false {
    const { events, logger, pass, pollIntervalMs, onUnroutable } = this.#options;
    const { id, functionName, stream, strategy } = call;
    onUnroutable(call);
    return this.#hold({ kind: "hold", state: "unroutable", due: { inMs: pollIntervalMs }, head: call }, () => {
      pass.count("unroutable");
      logger.warn(
        { callId: id, function: functionName, stream },
        "unroutable: this process does not know the function",
      );
      events.emit("unroutable", { id, function: functionName, stream, strategy });
    });
  }

  #hold(settlement: Extract<StreamSettlement, { kind: "hold" }>, report?: () => void): false {
    this.#settle(settlement, report);
    return false;
  }

  #settle(settlement: StreamSettlement, report: () => void = () => undefined): void {
    const settling = this.#options.settle(settlement).then(
      (isSettled) => {
        this.#settling.delete(settling);
        if (isSettled) report();
      },
      (error: unknown) => {
        this.#settling.delete(settling);
        this.#failure ??= { error };
      },
    );
    this.#settling.add(settling);
  }
}
