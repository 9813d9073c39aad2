import type { Pass } from "../run/pass.js";
import type { FunctionDefinition } from "../registry.js";
import { CrashedError } from "../errors.js";
import { errorText } from "../run/error-text.js";
import { judge } from "../run/judge.js";
import { type Outcome, run } from "../run/run.js";
import type { QueuedCall } from "../store/fetch-stream.js";
import type { Due, HeldHead, StreamLease, StreamSettlement } from "../store/serve-stream.js";
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
  /** Whether the first call may be what ended the process that served the stream before; `takeSuspicion` where it is run. */
  isSuspect: () => boolean;
  takeSuspicion: () => void;
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
/** Calls behind a suspect head: each is settled before the next begins, so that one that ends the process is the head then. */
const CAUTIOUS_CALLS = 100;
/** Many keys may come back at once, each with a fetch of its own in memory. */
const FETCH_LENGTH = 32;

/** The calls of one ordering key, one after the other. */
export class Lane {
  readonly #options: LaneOptions;
  readonly #calls: QueuedCall[];
  readonly #settling = new Set<Promise<void>>();
  /** Calls that run, or ran and are still in the table, as far as is known here. */
  readonly #unsettled = new Set<Seq>();
  #isAside: boolean;
  #isEnding = false;
  #isDropped = false;
  #isCautious = false;
  #served = 0;
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
    let hasNoneLeft = false;
    while (this.#goesOn) {
      const call = await this.#next();
      if (!this.#goesOn) break;
      hasNoneLeft = call === undefined;
      if (!call || !(await this.#serve(call))) break;
      this.#served += 1;
      const isCautious = this.#isCautious && this.#served < CAUTIOUS_CALLS;
      if (this.#settling.size >= (isCautious ? 1 : MOST_UNSETTLED)) await Promise.race(this.#settling);
    }
    this.#isEnding = true;
    if (hasNoneLeft && this.#isAside && this.#goesOn) this.#settle({ kind: "release", key: this.#options.key });
    await this.#settled();
    if (this.#failure) throw this.#failure.error;
  }

  get #goesOn(): boolean {
    return !this.#isDropped && !this.#options.pass.isOver && !this.#options.keeper.isLost && !this.#failure;
  }

  get isAside(): boolean {
    return this.#isAside;
  }

  /** Its calls shall leave the line while it goes on. @returns what to leave with; undefined where it cannot */
  stepAside(): { head: HeldHead; unsettled: Seq[] } | undefined {
    if (this.#isAside || this.#isEnding || !this.#head) return undefined;
    this.#isAside = true;
    const { seq, attempts } = this.#head;
    return { head: { seq, attempts }, unsettled: [...this.#unsettled].filter((one) => one !== seq) };
  }

  /** A person changed the stream: what was read ahead is not true any more. @returns what cannot be dropped */
  drop(): Iterable<Seq> {
    this.#isDropped = true;
    return this.#unsettled;
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
    if (!call.isDue) {
      const state = call.attempts > 0 ? "blocked" : "waiting";
      return this.#hold({ kind: "hold", state, due: "when-head-is-due", head: call });
    }
    const definition = this.#options.registry.find(call);
    if (!definition) return this.#unroutable(call);
    const convicted = this.#options.suspects.convict(call);
    if (convicted) {
      this.#unsettled.add(call.seq);
      return this.#exhaust(call, definition, convicted.outcome, convicted.error);
    }
    const { slots, suspects, isSuspect, takeSuspicion } = this.#options;
    if (this.#served === 0 && isSuspect()) {
      this.#isCautious = true;
      takeSuspicion();
    }
    if (call.suspectRuns > 0 || (this.#isCautious && this.#served === 0)) {
      return suspects.inTurn(call, async (isAlone) => {
        const goesOn = this.#conclude(call, definition, await this.#begin(call, definition, { isAlone }));
        // Before the next suspect has its turn: that one may end the process.
        await this.#settled();
        return goesOn;
      });
    }
    await slots.take();
    try {
      return this.#conclude(call, definition, await this.#begin(call, definition));
    } finally {
      slots.give();
    }
  }

  async #settled(): Promise<void> {
    while (this.#settling.size > 0) await Promise.all(this.#settling);
  }

  /** @returns undefined where it was not begun, since the lane ends */
  async #begin(
    call: QueuedCall,
    definition: FunctionDefinition,
    suspicion?: { isAlone: boolean },
  ): Promise<Outcome | undefined> {
    const { settle, pass, keeper, context, logger } = this.#options;
    const reserved = await pass.reserve(1);
    await keeper.makeSure();
    const goesOn = this.#goesOn && reserved === 1;
    pass.use(goesOn ? 1 : 0, reserved);
    if (!goesOn) return undefined;
    this.#unsettled.add(call.seq);
    if (suspicion) {
      const { id: callId, functionName, suspectRuns } = call;
      logger.warn(
        { callId, function: functionName, suspectRuns, ...suspicion },
        "a suspect runs: its stream was taken over",
      );
      const isWritten = await settle({ kind: "begin-suspect", seq: call.seq, ...suspicion });
      await keeper.makeSure();
      if (!isWritten || keeper.isLost) return undefined;
    }
    this.#runsSince = performance.now();
    try {
      return await keeper.under((abort) => run(call, definition, abort, context));
    } finally {
      this.#runsSince = undefined;
    }
  }

  #conclude(call: QueuedCall, definition: FunctionDefinition, outcome: Outcome | undefined): boolean {
    if (outcome === undefined) return false;
    return outcome.result.kind === "succeeded"
      ? this.#sent(call, definition, outcome)
      : this.#fail(call, definition, outcome, outcome.result.error);
  }

  /** The next call follows at once; the settlements of many go together. */
  #sent(call: QueuedCall, definition: FunctionDefinition, outcome: Outcome): true {
    this.#settle({ kind: definition.deleteAfterSend ? "delete" : "mark-sent", seq: call.seq }, () => {
      this.#unsettled.delete(call.seq);
      this.#options.pass.count("published");
      reportOutcome(this.#options, outcome, "relay", undefined, false);
    });
    return true;
  }

  #fail(call: QueuedCall, definition: FunctionDefinition, outcome: Outcome, error: unknown): boolean {
    const { delayMs, error: text } = judge(call, definition, outcome, error, this.#options.logger);
    if (delayMs === false) return this.#exhaust(call, definition, outcome, error);
    return this.#block(call, outcome, error, { inMs: delayMs }, text);
  }

  /** The head is not to be tried again, by its retry policy or since it has ended its process too often. */
  #exhaust(call: QueuedCall, { onExhausted, retry }: FunctionDefinition, outcome: Outcome, error: unknown): boolean {
    const text = errorText(error);
    if (onExhausted === "skip") return this.#skip(call, outcome, text);
    if (onExhausted === "park") return this.#park(call, outcome, error, text);
    const due = error instanceof CrashedError ? "never" : { inMs: retry.longestDelayMs };
    return this.#block(call, outcome, error, due, text);
  }

  /** Its key waits behind it. */
  #block(
    call: QueuedCall,
    outcome: Outcome,
    error: unknown,
    due: Extract<Due, "never" | { inMs: number }>,
    text: string,
  ): false {
    const head = { seq: call.seq, attempts: outcome.attempt, error: text };
    return this.#hold({ kind: "hold", state: "blocked", due, head }, () => {
      const nextAttemptAt = due === "never" ? undefined : new Date(Date.now() + call.clockOffsetMs + due.inMs);
      this.#reportHeld(outcome, nextAttemptAt);
      if (!nextAttemptAt) this.#tellPerson(outcome, "blocked until a person retries or skips it");
      const next = nextAttemptAt ? { nextAttemptAt } : {};
      this.#options.events.emit("blocked", { call: outcome.call, error, ...next });
    });
  }

  #park(call: QueuedCall, outcome: Outcome, error: unknown, text: string): false {
    const head = { seq: call.seq, attempts: outcome.attempt, error: text };
    return this.#hold({ kind: "hold", state: "parked", due: { inMs: 0 }, head }, () => {
      this.#reportHeld(outcome, undefined);
      this.#tellPerson(outcome, "parked until a person resumes its key");
      this.#options.events.emit("parked", { call: outcome.call, error });
    });
  }

  #reportHeld(outcome: Outcome, nextAttemptAt: Date | undefined): void {
    const { pass } = this.#options;
    const { id, stream, orderingKey } = outcome.call;
    pass.count("failed");
    pass.countBlocked({ id, stream, ...(orderingKey === undefined ? {} : { orderingKey }) });
    reportOutcome(this.#options, outcome, "relay", nextAttemptAt, false);
  }

  #tellPerson({ call: { id: callId, function: name, stream, orderingKey } }: Outcome, message: string): void {
    this.#options.logger.error({ callId, function: name, stream, orderingKey }, message);
  }

  /** It goes dead, and the next call follows. */
  #skip(call: QueuedCall, outcome: Outcome, text: string): true {
    this.#settle({ kind: "dead", seq: call.seq, attempts: outcome.attempt, error: text }, () => {
      this.#unsettled.delete(call.seq);
      this.#options.pass.count("dead");
      reportOutcome(this.#options, outcome, "relay", undefined, true);
    });
    return true;
  }

  /** Not run, not counted, not dropped: another process may know the function, and shall have the stream. */
  #unroutable(call: QueuedCall): false {
    const { events, logger, pass, pollIntervalMs, onUnroutable, isSuspect } = this.#options;
    const { id, functionName, stream, strategy } = call;
    onUnroutable(call);
    const head = { seq: call.seq, attempts: call.attempts, isSuspect: this.#served === 0 && isSuspect() };
    return this.#hold({ kind: "hold", state: "unroutable", due: { inMs: pollIntervalMs }, head }, () => {
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
