import type { FunctionDefinition } from "../registry.js";
import type { Kept } from "../run/lease-keeper.js";
import type { Pass } from "../run/pass.js";
import type { Outcome, RunListener } from "../run/run.js";
import type { Pending, Settling } from "../run/settle.js";
import type { SlotWaiter } from "../run/slots.js";
import type { Tally } from "../run/tally.js";
import type { ClaimedCall } from "../store/claim-calls.js";
import type { CallLease } from "../store/dialect.js";
import type { Settled } from "../store/settle-calls.js";
import type { RunSource } from "../types.js";
import type { ClaimPace } from "./claim-pace.js";

/** What a claim was made for. */
export interface Claim {
  /** `performance.now()` from before it. */
  askedAt: number;
  /** Slots that were taken for it. */
  taken: number;
  source: RunSource;
  pass?: Pass;
  /** Of the same relay: calls that were claimed ahead of the slots and wait for theirs, and how quickly they run. */
  queued?: Tally;
  pace?: ClaimPace;
}

/** Who takes a claimed call from one step to the next. */
export interface ClaimedRunOwner {
  served(run: ClaimedRun): void;
  ended(run: ClaimedRun, outcome: Outcome): void;
  concluded(run: ClaimedRun, settling: Settling): void;
}

export const DELETED: Settled = { state: "deleted" };

/** A claimed call on its way, and whom each step tells when it is done: one object, where a closure for each step cost as much as the run. */
export class ClaimedRun implements SlotWaiter, RunListener, Pending {
  readonly wanted = 1;
  readonly call: ClaimedCall;
  readonly definition: FunctionDefinition;
  readonly claim: Claim;
  readonly kept: Kept;
  readonly #owner: ClaimedRunOwner;
  outcome: Outcome | undefined;
  settled = DELETED;
  /** Is called when the database has said what became of it, or will not. (Default: nobody waits) */
  onConcluded: (() => void) | undefined;

  constructor(owner: ClaimedRunOwner, kept: Kept, definition: FunctionDefinition, claim: Claim) {
    this.#owner = owner;
    this.call = kept.call;
    this.kept = kept;
    this.definition = definition;
    this.claim = claim;
  }

  get lease(): CallLease {
    return this.call.lease;
  }

  served(): void {
    this.#owner.served(this);
  }

  ended(outcome: Outcome): void {
    this.#owner.ended(this, outcome);
  }

  concluded(settling: Settling): void {
    this.#owner.concluded(this, settling);
  }
}
