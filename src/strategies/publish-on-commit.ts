import type { FunctionDefinition } from "../registry.js";
import { Batches } from "../run/batches.js";
import { Gathering } from "../run/gathering.js";
import { judge } from "../run/judge.js";
import { LeaseKeeper } from "../run/lease-keeper.js";
import { type Outcome, run, start, toCall } from "../run/run.js";
import { Settler, type Settling } from "../run/settle.js";
import { Tally } from "../run/tally.js";
import type { ClaimedCall } from "../store/claim-calls.js";
import type { Settled } from "../store/settle-calls.js";
import type { Call } from "../types.js";
import type { Pass } from "../run/pass.js";
import { ClaimFrom } from "./claim-from.js";
import { ClaimPace, MOST_PER_CLAIM } from "./claim-pace.js";
import { ClaimedCalls } from "./claimed-calls.js";
import { type Claim, ClaimedRun, type ClaimedRunOwner, DELETED } from "./claimed-run.js";
import type { StrategyParts } from "./parts.js";
import { reportOutcome } from "./report.js";

/** Ids of committed calls that wait here for a slot; what comes on top is left to the relay. */
const MOST_HINTS = 1000;
/** Runs that have ended and are not settled: with more than that nothing is claimed, or a slow database would be left behind. */
const MOST_UNSETTLED = 1000;

/** Runs calls as soon as their transaction has committed, many at once, in no particular order. */
export class PublishOnCommit implements ClaimedRunOwner {
  readonly #options: StrategyParts;
  readonly #settler: Settler;
  readonly #leases: LeaseKeeper;
  readonly #claimed: ClaimedCalls;
  readonly #hints: string[] = [];
  readonly #gathering: Gathering;
  #following: Promise<void> | undefined;
  /** What waits for a slot, runs, is being settled or given back. */
  readonly #work = new Tally();
  readonly #unsettled = new Tally();
  /** Claimed ahead for a pass that was stopped. */
  readonly #unrun = new Batches<ClaimedRun>((unrun) => this.#releaseUnrun(unrun));

  constructor(options: StrategyParts) {
    this.#options = options;
    this.#settler = new Settler(options);
    this.#gathering = new Gathering(options.slots.size);
    this.#claimed = new ClaimedCalls(options);
    this.#leases = new LeaseKeeper({ ...options, onLost: (call) => this.#tellLost(toCall(call)) });
  }

  /** These calls may have been committed: run those that were. */
  hint(ids: readonly string[]): void {
    const room = MOST_HINTS - this.#hints.length;
    this.#hints.push(...ids.slice(0, room));
    if (ids.length > room)
      this.#options.logger.debug({ calls: ids.length - room }, "left to the relay: all slots are taken");
    if (this.#following) this.#gathering.grown(this.#hints.length);
    else this.#following = this.#follow();
  }

  async #follow(): Promise<void> {
    const { slots, store, logger } = this.#options;
    while (this.#hints.length > 0) {
      if (this.#unsettled.count > MOST_UNSETTLED) await this.#unsettled.fallsTo(MOST_UNSETTLED);
      const taken = await slots.take(this.#hints.length);
      const ids = this.#hints.splice(0, taken);
      try {
        const askedAt = performance.now();
        this.#gathering.begin();
        this.#start(await store.claimById(ids), { askedAt, taken, source: "commit" });
      } catch (error) {
        slots.give(taken);
        logger.warn(
          { err: error, calls: ids.length },
          "committed calls could not be claimed; the relay will take them",
        );
      }
      if (this.#hints.length > 0) await this.#gathering.pause(this.#hints.length);
    }
    // Here and not when the promise resolves: a hint in between would find nobody who follows it.
    this.#following = undefined;
  }

  /** Claims and starts what is due in a stream until nothing is left. Resolves when all that was claimed has begun. */
  async relay(stream: string, pass: Pass): Promise<void> {
    const { slots, store } = this.#options;
    const queued = new Tally();
    const pace = new ClaimPace();
    const from = new ClaimFrom();
    let ahead = 0;
    while (!pass.isOver) {
      await this.#unsettled.fallsTo(MOST_UNSETTLED);
      // The rest runs while the next claim is on its way.
      await queued.fallsTo(ahead);
      const taken = queued.count > 0 ? 0 : await slots.take(Math.max(1, Math.min(pass.budget, MOST_PER_CLAIM)));
      ahead = pace.ahead();
      const wanted = await pass.reserve(Math.max(taken, ahead, 1));
      from.begin();
      const askedAt = performance.now();
      let calls: ClaimedCall[] = [];
      try {
        if (wanted > 0) calls = await store.claimDue(stream, wanted, { from, byMs: pass.dueByMs });
      } finally {
        const claim: Claim = { askedAt, taken, source: "relay", pass, queued, pace };
        // What was stopped, or has reached its deadline, while the claim was on its way starts nothing more.
        const isOver = wanted > 0 && pass.isOver;
        pass.use(isOver ? 0 : calls.length, wanted);
        if (isOver) slots.give(taken);
        if (isOver && calls.length > 0) this.#track(this.#claimed.release(calls), claim);
        if (!isOver) this.#start(calls, claim);
      }
      if (from.hasAll(calls.length, wanted)) break;
    }
    await queued.fallsTo(0);
  }

  #start(calls: readonly ClaimedCall[], claim: Claim): void {
    const { slots, suspects, registry } = this.#options;
    const unroutable: ClaimedCall[] = [];
    const suspected: [ClaimedCall, FunctionDefinition][] = [];
    let started = 0;
    for (const call of calls) {
      const definition = registry.find(call);
      if (!definition) unroutable.push(call);
      else if (call.isSuspect || call.suspectRuns > 0) suspected.push([call, definition]);
      else {
        const run = this.#keep(call, definition, claim);
        if (!run) continue;
        this.#beginWork(claim);
        if (started < claim.taken) {
          started += 1;
          this.#begin(run);
        } else this.#queue(run);
      }
    }
    // Suspects take slots when it is their turn.
    slots.give(claim.taken - started);
    if (unroutable.length > 0) this.#track(this.#claimed.unroutable(unroutable, claim.pass), claim);
    const tooMany = suspected.splice(suspects.room);
    for (const [call, definition] of suspected) this.#track(this.#serveSuspect(call, definition, claim), claim);
    if (tooMany.length > 0) this.#track(this.#claimed.postpone(tooMany.map(([call]) => call)), claim);
  }

  #track(work: Promise<void>, { pass }: Claim): void {
    this.#work.during(work);
    pass?.work.during(work);
  }

  #beginWork({ pass }: Claim): void {
    this.#work.begin();
    pass?.work.begin();
  }

  #endWork({ pass }: Claim): void {
    this.#work.end();
    pass?.work.end();
  }

  /** Claimed ahead: it runs when a slot is free. */
  #queue(run: ClaimedRun): void {
    run.claim.queued?.begin();
    this.#options.slots.request(run);
  }

  /** The slot that it waited for was taken for it. */
  served(run: ClaimedRun): void {
    run.claim.queued?.end();
    if (run.claim.pass?.isStopped && this.#leases.forget(run.kept)) {
      this.#unrun.add(run);
      this.#options.slots.give();
    } else this.#begin(run);
  }

  /** Runs it in a slot that was taken for it. */
  #begin(run: ClaimedRun): void {
    // While it waited for the slot its lease may have been lost.
    if (run.kept.isAborted) {
      this.#options.slots.give();
      this.#endWork(run.claim);
    } else start(run.call, run.definition, run.kept, this.#options.context, run);
  }

  ended(run: ClaimedRun, outcome: Outcome): void {
    this.#options.slots.give();
    run.claim.pace?.count();
    this.#settle(run, outcome);
  }

  /** In its turn, which ends when its outcome is settled: the next one may end the process. */
  async #serveSuspect(call: ClaimedCall, definition: FunctionDefinition, claim: Claim): Promise<void> {
    const { suspects, context } = this.#options;
    const one = this.#keep(call, definition, claim);
    if (!one) return;
    const convicted = suspects.convict(call);
    if (convicted) {
      await this.#settled(one, convicted.outcome);
      return;
    }
    await suspects.inTurn(call, async (isAlone) => {
      const isBegun = !one.kept.isAborted && (await this.#beginSuspect(one, isAlone));
      if (isBegun) await this.#settled(one, await run(call, definition, one.kept, context));
      else this.#leases.forget(one.kept);
    });
  }

  #keep(call: ClaimedCall, definition: FunctionDefinition, claim: Claim): ClaimedRun | undefined {
    const kept = this.#leases.keep(call, claim.askedAt);
    if (kept) return new ClaimedRun(this, kept, definition, claim);
    this.#options.logger.warn(
      { callId: call.id },
      "a claim took longer than its lease; the call was not run, and will be claimed again",
    );
    return undefined;
  }

  /** @returns whether it may run; where it may not, its lease is lost, or ends soon */
  async #beginSuspect(one: ClaimedRun, isAlone: boolean): Promise<boolean> {
    const { store, logger } = this.#options;
    const { call, claim } = one;
    const { id: callId, functionName, suspectRuns } = call;
    try {
      if (claim.pass?.isStopped || !(await store.beginSuspect(call.lease, isAlone))) {
        // Or it would be renewed once more.
        this.#leases.forget(one.kept);
        await this.#claimed.endLease(call);
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

  #settled(one: ClaimedRun, outcome: Outcome): Promise<void> {
    return new Promise((resolve) => {
      this.#beginWork(one.claim);
      one.onConcluded = resolve;
      this.#settle(one, outcome);
    });
  }

  #settle(run: ClaimedRun, outcome: Outcome): void {
    run.outcome = outcome;
    run.settled = this.#decide(run, outcome);
    run.kept.isSettling = true;
    this.#unsettled.begin();
    this.#settler.settle(run);
  }

  /** The database has said what became of it, or will not. */
  concluded(run: ClaimedRun, settling: Settling): void {
    const outcome = run.outcome as Outcome;
    this.#unsettled.end();
    const wasKept = this.#leases.forget(run.kept);
    try {
      if (settling === "lease-lost" && wasKept) this.#tellLost(outcome.call);
      if (settling === "settled") this.#report(run, outcome);
    } finally {
      this.#endWork(run.claim);
      run.onConcluded?.();
    }
  }

  #tellLost(call: Call): void {
    const { events, logger } = this.#options;
    const { id: callId, function: name, stream } = call;
    logger.error({ callId, function: name, stream }, "lease lost: the run cannot be settled");
    events.emit("leaseLost", { stream, call });
  }

  #decide({ call, definition }: ClaimedRun, outcome: Outcome): Settled {
    const { attempt: attempts, result } = outcome;
    if (result.kind === "succeeded") return definition.deleteAfterSend ? DELETED : { state: "sent", attempts };
    const { delayMs, error } = judge(call, definition, outcome, result.error, this.#options.logger);
    return delayMs === false ? { state: "dead", attempts, error } : { state: "pending", attempts, delayMs, error };
  }

  #report({ call, settled, claim }: ClaimedRun, outcome: Outcome): void {
    const kind = settled.state === "pending" ? "failed" : settled.state === "dead" ? "dead" : "published";
    claim.pass?.count(kind);
    const nextAttemptAt =
      settled.state === "pending" ? new Date(Date.now() + call.clockOffsetMs + settled.delayMs) : undefined;
    reportOutcome(this.#options, outcome, claim.source, nextAttemptAt, settled.state === "dead");
  }

  async #releaseUnrun(unrun: readonly ClaimedRun[]): Promise<void> {
    await this.#claimed.release(unrun.map(({ call }) => call));
    for (const { claim } of unrun) this.#endWork(claim);
  }

  /** What is queued or running. */
  get running(): Promise<unknown>[] {
    const following = this.#following ? [this.#following] : [];
    return this.#work.count > 0 ? [...following, this.#work.fallsTo(0)] : following;
  }
}
