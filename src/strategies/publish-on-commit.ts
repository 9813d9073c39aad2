import type { FunctionDefinition } from "../registry.js";
import { judge } from "../run/judge.js";
import { LeaseKeeper } from "../run/lease-keeper.js";
import { type Outcome, run, toCall } from "../run/run.js";
import { Settler } from "../run/settle.js";
import type { ClaimedCall } from "../store/claim-calls.js";
import type { Settled } from "../store/settle-calls.js";
import type { Call, RunSource } from "../types.js";
import type { Pass } from "../run/pass.js";
import type { StrategyParts } from "./parts.js";
import { reportOutcome } from "./report.js";

/** Ids of committed calls that wait here for a slot; what comes on top is left to the relay. */
const MOST_HINTS = 1000;
const MOST_PER_CLAIM = 100;
/** How long an unroutable call is left alone, on average: it must not stand in front of the others at every pass. */
const UNROUTABLE_PAUSE_MS = 10_000;
/** How long suspects are left alone for whom there is no room. */
const SUSPECTS_PAUSE_MS = 2000;

/** What a claim was made for. */
interface Claim {
  /** `performance.now()` from before it. */
  askedAt: number;
  /** Slots that were taken for it. */
  taken: number;
  source: RunSource;
  pass?: Pass;
}

/** Runs calls as soon as their transaction has committed, many at once, in no particular order. */
export class PublishOnCommit {
  readonly #options: StrategyParts;
  readonly #settler: Settler;
  readonly #leases: LeaseKeeper;
  readonly #hints: string[] = [];
  #following: Promise<void> | undefined;
  readonly #running = new Set<Promise<void>>();

  constructor(options: StrategyParts) {
    this.#options = options;
    this.#settler = new Settler(options);
    this.#leases = new LeaseKeeper({ ...options, onLost: (call) => this.#tellLost(toCall(call)) });
  }

  /** These calls may have been committed: run those that were. */
  hint(ids: readonly string[]): void {
    const room = MOST_HINTS - this.#hints.length;
    this.#hints.push(...ids.slice(0, room));
    if (ids.length > room)
      this.#options.logger.debug({ calls: ids.length - room }, "left to the relay: all slots are taken");
    this.#following ??= this.#follow();
  }

  async #follow(): Promise<void> {
    const { slots, store, logger } = this.#options;
    while (this.#hints.length > 0) {
      const taken = await slots.take(this.#hints.length);
      const ids = this.#hints.splice(0, taken);
      try {
        const askedAt = performance.now();
        this.#start(await store.claimById(ids), { askedAt, taken, source: "commit" });
      } catch (error) {
        slots.give(taken);
        logger.warn(
          { err: error, calls: ids.length },
          "committed calls could not be claimed; the relay will take them",
        );
      }
    }
    // Here and not when the promise resolves: a hint in between would find nobody who follows it.
    this.#following = undefined;
  }

  /** Claims and starts what is due in a stream until nothing is left. Resolves when the last run has started. */
  async relay(stream: string, pass: Pass): Promise<void> {
    const { slots, store } = this.#options;
    while (!pass.isOver) {
      const taken = await slots.take(Math.max(1, Math.min(pass.budget, MOST_PER_CLAIM)));
      const wanted = await pass.reserve(taken);
      const askedAt = performance.now();
      let calls: ClaimedCall[] = [];
      try {
        if (wanted > 0) calls = await store.claimDue(stream, wanted, pass.dueByMs);
      } finally {
        const claim: Claim = { askedAt, taken, source: "relay", pass };
        // What was stopped, or has reached its deadline, while the claim was on its way starts nothing more.
        const isOver = wanted > 0 && pass.isOver;
        pass.use(isOver ? 0 : calls.length, wanted);
        if (isOver) slots.give(taken);
        if (isOver && calls.length > 0) this.#track(this.#release(calls, 0), claim);
        if (!isOver) this.#start(calls, claim);
      }
      if (calls.length === 0) return;
    }
  }

  #start(calls: readonly ClaimedCall[], claim: Claim): void {
    const { slots, suspects, registry, store } = this.#options;
    const unroutable: ClaimedCall[] = [];
    const suspected: [ClaimedCall, FunctionDefinition][] = [];
    let started = 0;
    for (const call of calls) {
      const definition = registry.find(call);
      if (!definition) unroutable.push(call);
      else if (call.isSuspect || call.suspectRuns > 0) suspected.push([call, definition]);
      else {
        started += 1;
        this.#track(
          this.#serve(call, definition, claim).finally(() => slots.give()),
          claim,
        );
      }
    }
    // Suspects take slots when it is their turn.
    slots.give(claim.taken - started);
    if (unroutable.length > 0) this.#track(this.#giveBack(unroutable, claim.pass), claim);
    const tooMany = suspected.splice(suspects.room);
    for (const [call, definition] of suspected) this.#track(this.#serveSuspect(call, definition, claim), claim);
    if (tooMany.length > 0) {
      const leases = tooMany.map(([{ lease }]) => lease);
      this.#track(
        this.#unclaim(() => store.endLeases(leases, jittered(SUSPECTS_PAUSE_MS))),
        claim,
      );
    }
  }

  #track(work: Promise<void>, { pass }: Claim): void {
    const running = work.finally(() => this.#running.delete(running));
    this.#running.add(running);
    pass?.track(running);
  }

  async #serve(call: ClaimedCall, definition: FunctionDefinition, claim: Claim): Promise<void> {
    const abort = this.#keep(call, claim);
    if (!abort) return;
    await this.#settle(call, definition, await run(call, definition, abort, this.#options.context), claim);
  }

  /** In its turn, which ends when its outcome is settled: the next one may end the process. */
  async #serveSuspect(call: ClaimedCall, definition: FunctionDefinition, claim: Claim): Promise<void> {
    const { suspects, context } = this.#options;
    const abort = this.#keep(call, claim);
    if (!abort) return;
    const convicted = suspects.convict(call);
    if (convicted) {
      await this.#settle(call, definition, convicted.outcome, claim);
      return;
    }
    await suspects.inTurn(call, async (isAlone) => {
      const isBegun = !abort.signal.aborted && (await this.#beginSuspect(call, isAlone, claim));
      if (isBegun) await this.#settle(call, definition, await run(call, definition, abort, context), claim);
      else this.#leases.forget(call);
    });
  }

  #keep(call: ClaimedCall, { askedAt }: Claim): AbortController | undefined {
    const abort = this.#leases.keep(call, askedAt);
    if (!abort) {
      this.#options.logger.warn(
        { callId: call.id },
        "a claim took longer than its lease; the call was not run, and will be claimed again",
      );
    }
    return abort;
  }

  /** @returns whether it may run; where it may not, its lease is lost, or ends soon */
  async #beginSuspect(call: ClaimedCall, isAlone: boolean, { pass }: Claim): Promise<boolean> {
    const { store, logger } = this.#options;
    const { id: callId, functionName, suspectRuns } = call;
    try {
      if (pass?.isStopped || !(await store.beginSuspect(call.lease, isAlone))) {
        await this.#unclaim(() => store.endLeases([call.lease], 0));
        return false;
      }
    } catch (error) {
      logger.warn({ err: error, callId }, "a suspect could not be begun; it is claimed again when its lease has ended");
      return false;
    }
    logger.warn(
      { callId, function: functionName, suspectRuns, isAlone },
      "a suspect runs: its last run ended with its process, or lost the database",
    );
    return true;
  }

  async #settle(call: ClaimedCall, definition: FunctionDefinition, outcome: Outcome, claim: Claim): Promise<void> {
    const settled = this.#decide(call, definition, outcome);
    this.#leases.settling(call);
    const settling = await this.#settler.settle({ lease: call.lease, settled });
    const wasKept = this.#leases.forget(call);
    if (settling === "lease-lost" && wasKept) this.#tellLost(outcome.call);
    if (settling === "settled") this.#report(call, outcome, settled, claim);
  }

  #tellLost(call: Call): void {
    const { events, logger } = this.#options;
    const { id: callId, function: name, stream } = call;
    logger.error({ callId, function: name, stream }, "lease lost: the run cannot be settled");
    events.emit("leaseLost", { stream, call });
  }

  #decide(call: ClaimedCall, definition: FunctionDefinition, outcome: Outcome): Settled {
    const { attempt: attempts, result } = outcome;
    if (result.kind === "succeeded")
      return definition.deleteAfterSend ? { state: "deleted" } : { state: "sent", attempts };
    const { delayMs, error } = judge(call, definition, outcome, result.error, this.#options.logger);
    return delayMs === false ? { state: "dead", attempts, error } : { state: "pending", attempts, delayMs, error };
  }

  #report(call: ClaimedCall, outcome: Outcome, settled: Settled, { source, pass }: Claim): void {
    const kind = settled.state === "pending" ? "failed" : settled.state === "dead" ? "dead" : "published";
    pass?.count(kind);
    const nextAttemptAt =
      settled.state === "pending" ? new Date(Date.now() + call.clockOffsetMs + settled.delayMs) : undefined;
    reportOutcome(this.#options, outcome, source, nextAttemptAt, settled.state === "dead");
  }

  /** Not run, not counted, not dropped: another process may know the function. */
  async #giveBack(calls: readonly ClaimedCall[], pass: Pass | undefined): Promise<void> {
    const { events, logger } = this.#options;
    for (const { id, functionName, stream, strategy } of calls) {
      pass?.count("unroutable");
      events.emit("unroutable", { id, function: functionName, stream, strategy });
    }
    const functions = [...new Set(calls.map(({ functionName }) => functionName))];
    logger.warn(
      { functions, calls: calls.length },
      "unroutable: this process does not know the functions of some calls",
    );
    await this.#release(calls, jittered(UNROUTABLE_PAUSE_MS));
  }

  /** Who claims a suspect next shall suspect it, too. */
  #release(calls: readonly ClaimedCall[], delayMs: number): Promise<void> {
    const { store } = this.#options;
    const leasesOf = (isSuspect: boolean) =>
      calls.filter((call) => call.isSuspect === isSuspect).map(({ lease }) => lease);
    return this.#unclaim(async () => {
      await store.releaseCalls(leasesOf(false), delayMs);
      await store.endLeases(leasesOf(true), delayMs);
    });
  }

  async #unclaim(giveBack: () => Promise<void>): Promise<void> {
    try {
      await giveBack();
    } catch (error) {
      this.#options.logger.warn(
        { err: error },
        "claimed calls could not be given back; their leases will end by themselves",
      );
    }
  }

  /** What is queued or running. */
  get running(): Iterable<Promise<unknown>> {
    return this.#following ? [this.#following, ...this.#running] : this.#running;
  }
}

/** Not the same for all: processes in step would keep each other's calls away from the one that can run them. */
function jittered(ms: number): number {
  return ms * (0.5 + Math.random());
}
