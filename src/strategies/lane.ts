import type { FunctionDefinition } from "../registry.js";
import type { LazyAbort } from "../run/lazy-abort.js";
import { type Outcome, run, type RunListener, start } from "../run/run.js";
import type { SlotWaiter } from "../run/slots.js";
import type { Seq } from "../store/dialect.js";
import { keyOf } from "../store/key-name.js";
import type { QueuedCall } from "../store/fetch-stream.js";
import type { HeldHead, StreamSettlement } from "../store/serve-stream.js";
import { afterRun, type Conclusion, exhausted, notDue, reportSent, unroutable } from "./conclusion.js";
import type { LaneKind, LaneParts, LaneSettled, LaneSettlement } from "./lane-parts.js";

/** Runs that have ended and are not settled yet: they would be repeated after a crash. */
const MOST_UNSETTLED = 100;
/** Calls behind a suspect head: each is settled before the next begins, so that one that ends the process is the head then. */
const CAUTIOUS_CALLS = 100;
/** Many keys may come back at once, each with a fetch of its own in memory. */
const FETCH_LENGTH = 32;

/**
 * The calls of one ordering key, one after the other. Its steps are calls, and promises only where it has to wait: with a
 * promise for each step, a drain took several times as long.
 */
export class Lane implements SlotWaiter, RunListener {
  /** Of its ordering key. */
  readonly name: string;
  readonly wanted = 1;
  readonly #parts: LaneParts;
  readonly #kind: LaneKind;
  readonly #calls: QueuedCall[];
  /** Settlements that are on their way; and who waits until there are fewer, which is the lane itself. */
  #settling = 0;
  #waiting: { most: number; resolve: () => void } | undefined;
  /** Calls that run, or ran and are still in the table, as far as is known here. */
  readonly #unsettled: Seq[] = [];
  /** `resting`: it has run all that it has, and can take more until that is settled. */
  #state: "going" | "resting" | "over" = "going";
  #isAside: boolean;
  #isDropped = false;
  #isCautious = false;
  #served = 0;
  #head: QueuedCall | undefined;
  #definition: FunctionDefinition | undefined;
  #abort: LazyAbort | undefined;
  #runsSince: number | undefined;
  #failure: { error: unknown } | undefined;
  #hasEnded = false;

  /**
   * @param calls the first ones of the key, in order, from its head
   * @param kind `aside` where the key stands aside: what follows is read by the key
   */
  constructor(parts: LaneParts, name: string, calls: QueuedCall[], kind: LaneKind) {
    this.#parts = parts;
    this.name = name;
    this.#calls = calls;
    this.#kind = kind;
    this.#isAside = kind === "aside";
  }

  start(): void {
    this.#advance();
  }

  get #goesOn(): boolean {
    return !this.#isDropped && !this.#parts.pass.isOver && !this.#parts.keeper.isLost && !this.#failure;
  }

  get key(): Buffer {
    return keyOf(this.name);
  }

  get isAside(): boolean {
    return this.#isAside;
  }

  /** What it has not begun. */
  get rest(): readonly QueuedCall[] {
    return this.#calls;
  }

  /** The next call of the key. @returns false where it cannot take it */
  append(call: QueuedCall): boolean {
    if (this.#isAside || this.#state === "over" || !this.#goesOn) return false;
    this.#calls.push(call);
    if (this.#state === "resting") {
      this.#state = "going";
      this.#advance();
    }
    return true;
  }

  /** Its calls shall leave the line while it goes on. @returns what to leave with; undefined where it cannot */
  stepAside(): { head: HeldHead; unsettled: Seq[] } | undefined {
    if (this.#isAside || this.#state !== "going" || !this.#head) return undefined;
    this.#isAside = true;
    const { seq, attempts } = this.#head;
    return { head: { seq, attempts }, unsettled: this.#unsettled.filter((one) => one !== seq) };
  }

  /** A person changed the stream: what was read ahead is not true any more. @returns what cannot be dropped */
  drop(): readonly Seq[] {
    this.#isDropped = true;
    return [...this.#unsettled];
  }

  /** Whether the run that is going on has taken so long already. */
  hasRunFor(ms: number): boolean {
    return this.#runsSince !== undefined && performance.now() - this.#runsSince >= ms;
  }

  /** Takes up the next call, and returns once that runs, or the lane has to wait. */
  #advance(): void {
    if (!this.#goesOn) {
      this.#end();
      return;
    }
    const isCautious = this.#isCautious && this.#served > 0 && this.#served < CAUTIOUS_CALLS;
    const most = isCautious ? 0 : MOST_UNSETTLED - 1;
    if (this.#settling > most) {
      void this.#settled(most).then(() => this.#advance());
      return;
    }
    const call = this.#calls.shift();
    if (call) this.#serve(call);
    else if (this.#isAside && this.#head) void this.#fetchMore(this.#head.seq);
    else this.#rest();
  }

  async #fetchMore(afterSeq: Seq): Promise<void> {
    const { store, lease, partOfPass } = this.#parts;
    try {
      this.#calls.push(...partOfPass(await store.fetchHeld(lease, this.key, afterSeq, FETCH_LENGTH)));
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (this.#calls.length > 0 || !this.#goesOn) this.#advance();
    else this.#rest();
  }

  #serve(call: QueuedCall): void {
    const { registry, suspects, slots, isSuspect, takeSuspicion, onUnroutable } = this.#parts;
    this.#head = call;
    if (!call.isDue) {
      this.#conclude(notDue(call));
      return;
    }
    const definition = registry.find(call);
    const isFirstSuspect = this.#served === 0 && isSuspect(this.#kind);
    if (!definition) {
      onUnroutable(call);
      this.#conclude(unroutable(this.#parts, call, isFirstSuspect));
      return;
    }
    const convicted = suspects.convict(call);
    if (convicted) {
      this.#unsettled.push(call.seq);
      this.#conclude(exhausted(this.#parts, call, definition, convicted.outcome, convicted.error));
      return;
    }
    if (isFirstSuspect) {
      this.#isCautious = true;
      takeSuspicion(this.#kind);
    }
    this.#definition = definition;
    if (call.suspectRuns > 0 || isFirstSuspect) void this.#runSuspect(call, definition);
    else slots.request(this);
  }

  /** The slot that its head needs was taken for it. */
  served(): void {
    const { pass, keeper } = this.#parts;
    const [call, definition] = [this.#head as QueuedCall, this.#definition as FunctionDefinition];
    if (this.#goesOn && keeper.isSure && pass.takeOne()) this.#run(call, definition);
    else void this.#beginWhenSure(call, definition);
  }

  async #beginWhenSure(call: QueuedCall, definition: FunctionDefinition): Promise<void> {
    if (await this.#maySurelyBegin()) {
      this.#run(call, definition);
      return;
    }
    this.#parts.slots.give();
    this.#calls.unshift(call);
    this.#end();
  }

  async #maySurelyBegin(): Promise<boolean> {
    const { pass, keeper } = this.#parts;
    const reserved = await pass.reserve(1);
    await keeper.makeSure();
    const mayBegin = this.#goesOn && reserved === 1;
    pass.use(mayBegin ? 1 : 0, reserved);
    return mayBegin;
  }

  #run(call: QueuedCall, definition: FunctionDefinition): void {
    const { keeper, context } = this.#parts;
    this.#unsettled.push(call.seq);
    this.#runsSince = performance.now();
    this.#abort = keeper.begin();
    start(call, definition, this.#abort, context, this);
  }

  /** The run of its head has. */
  ended(outcome: Outcome): void {
    const { keeper, slots } = this.#parts;
    const [call, definition] = [this.#head as QueuedCall, this.#definition as FunctionDefinition];
    keeper.end(this.#abort as LazyAbort);
    this.#runsSince = undefined;
    slots.give();
    if (outcome.result.kind === "succeeded") this.#sent(call.seq, definition, outcome);
    else this.#conclude(afterRun(this.#parts, call, definition, outcome));
  }

  /** The usual case, with the fewest objects: the next call follows at once, and the settlements of many go together. */
  #sent(seq: Seq, definition: FunctionDefinition, outcome: Outcome): void {
    this.#settling += 1;
    const settlement = { kind: definition.deleteAfterSend ? "delete" : "mark-sent", seq } as const;
    this.#parts.settle({ lane: this, key: this.name, settlement, outcome });
    this.#goOn(true);
  }

  /** In its turn, which ends when all is settled: the next suspect may end the process. */
  async #runSuspect(call: QueuedCall, definition: FunctionDefinition): Promise<void> {
    try {
      const goesOn = await this.#parts.suspects.inTurn(call, async (isAlone) => {
        const outcome = await this.#beginSuspect(call, definition, isAlone);
        const conclusion = outcome && afterRun(this.#parts, call, definition, outcome);
        if (!conclusion) this.#calls.unshift(call);
        else this.#settle(conclusion.settlement, conclusion.report);
        await this.#settled(0);
        return conclusion?.goesOn === true;
      });
      this.#goOn(goesOn);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** @returns undefined where it was not begun, since the lane ends */
  async #beginSuspect(
    call: QueuedCall,
    definition: FunctionDefinition,
    isAlone: boolean,
  ): Promise<Outcome | undefined> {
    const { keeper, context, logger } = this.#parts;
    if (!(await this.#maySurelyBegin())) return undefined;
    const { seq, id: callId, functionName, suspectRuns } = call;
    this.#unsettled.push(seq);
    logger.warn({ callId, function: functionName, suspectRuns, isAlone }, "a suspect runs: its stream was taken over");
    this.#settle({ kind: "begin-suspect", seq, isAlone });
    await this.#settled(0);
    await keeper.makeSure();
    if (this.#failure || keeper.isLost) return undefined;
    this.#runsSince = performance.now();
    const abort = keeper.begin();
    const outcome = await run(call, definition, abort, context);
    keeper.end(abort);
    this.#runsSince = undefined;
    return outcome;
  }

  #conclude({ settlement, report, goesOn }: Conclusion): void {
    this.#settle(settlement, report);
    this.#goOn(goesOn);
  }

  #goOn(goesOn: boolean): void {
    if (!goesOn) {
      this.#end();
      return;
    }
    this.#served += 1;
    this.#advance();
  }

  #settle(settlement: StreamSettlement, report?: () => void): void {
    this.#settling += 1;
    this.#parts.settle({ lane: this, key: this.name, settlement, report });
  }

  /** By whom `settle` had it written down. */
  settled({ settlement, report, outcome }: LaneSettlement, settled: LaneSettled): void {
    if (settled === true) {
      if ("seq" in settlement && settlement.kind !== "begin-suspect") this.#forget(settlement.seq);
      try {
        if (outcome) reportSent(this.#parts, outcome);
        report?.();
      } catch (error) {
        // A logger that throws.
        this.#failure ??= { error };
      }
    } else if (settled !== false) this.#failure ??= settled;
    this.#settling -= 1;
    if (this.#waiting && this.#settling <= this.#waiting.most) {
      this.#waiting.resolve();
      this.#waiting = undefined;
    }
    this.#finish();
  }

  async #settled(most: number): Promise<void> {
    if (this.#settling > most) await new Promise<void>((resolve) => (this.#waiting = { most, resolve }));
  }

  #forget(seq: Seq): void {
    // They are settled in their order.
    this.#unsettled.splice(this.#unsettled.indexOf(seq), 1);
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#end();
  }

  /** All that it has was run. */
  #rest(): void {
    this.#state = this.#isAside ? "over" : "resting";
    if (this.#isAside) this.#settle({ kind: "release", key: this.key });
    this.#finish();
  }

  #end(): void {
    this.#state = "over";
    this.#finish();
  }

  #finish(): void {
    if (this.#state === "going" || this.#settling > 0 || this.#hasEnded) return;
    this.#state = "over";
    this.#hasEnded = true;
    this.#parts.onEnded(this, this.#failure);
  }
}
