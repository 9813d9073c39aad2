import { CrashedError } from "../errors.js";
import type { StoredCall } from "../store/stored-call.js";
import { type Outcome, toCall } from "./run.js";
import type { Runs } from "./runs.js";
import type { Slots } from "./slots.js";

/** Calls that wait here for their turn: those of publish-on-commit under leases of their own, of keep-order a few per stream. */
const MOST_WAITING = 100;

/** How long the others are held back at first for one that must run alone; twice as long each time that this was not enough. */
const FIRST_PATIENCE_MS = 1000;

export interface SuspectsOptions {
  slots: Slots;
  runs: Runs;
  maxCrashes: number;
}

/**
 * Runs the calls that were being run when their process ended: one of them may have ended it. They take turns, beside the
 * other runs; one that was being run when that happened again runs truly alone, and only such an end counts against it.
 */
export class Suspects {
  readonly #slots: Slots;
  readonly #runs: Runs;
  readonly #maxCrashes: number;
  /** One that waits to be alone, perhaps for long, does not keep those waiting that need not be. */
  readonly #turns: Record<"alone" | "beside", Promise<unknown>> = {
    alone: Promise.resolve(),
    beside: Promise.resolve(),
  };
  #waiting = 0;

  constructor({ slots, runs, maxCrashes }: SuspectsOptions) {
    this.#slots = slots;
    this.#runs = runs;
    this.#maxCrashes = maxCrashes;
  }

  /** How many more calls may wait for their turn. */
  get room(): number {
    return Math.max(0, MOST_WAITING - this.#waiting);
  }

  /** How a call ends that has ended its process too often to be run again; undefined where it may be. */
  convict(call: StoredCall): { outcome: Outcome; error: CrashedError } | undefined {
    const crashes = crashesAlone(call);
    if (crashes < this.#maxCrashes) return undefined;
    const error = new CrashedError(
      `call ${call.id} of ${call.functionName} has ended its process ${crashes} times while it ran alone, and is not run any more; look for what exhausts the memory, exits, or blocks the process for longer than the lease, mend it, and retry the call`,
    );
    const result = { kind: "failed", error, isAbandoned: false } as const;
    return { outcome: { call: toCall(call), attempt: call.attempts, durationMs: 0, result }, error };
  }

  /** Does `work` in the call's turn, with the slots that it needs taken. */
  async inTurn<T>(call: StoredCall, work: (isAlone: boolean) => Promise<T>): Promise<T> {
    this.#waiting += 1;
    const isAlone = runsAlone(call);
    const kind = isAlone ? "alone" : "beside";
    const result = this.#turns[kind].then(async () => {
      const taken = await (isAlone ? this.#takeAll() : this.#slots.take());
      try {
        return await work(isAlone);
      } finally {
        this.#slots.give(taken);
        this.#waiting -= 1;
      }
    });
    this.#turns[kind] = result.catch(() => undefined);
    return result;
  }

  /**
   * A run may take an hour, and the others shall not wait for its end: they begin as ever until what runs has ended, and are
   * held back for a moment only, in which what began meanwhile ends, too. The moments grow, so that one comes that is long enough.
   */
  async #takeAll(): Promise<number> {
    for (let patienceMs = FIRST_PATIENCE_MS; ; patienceMs *= 2) {
      await this.#runs.haveEnded();
      const taken = await this.#slots.takeAll(patienceMs);
      if (taken > 0) return taken;
    }
  }
}

/**
 * The first run under suspicion has others beside it, which may end the process, and proves nothing; the next ones are alone.
 * What the store writes in `suspect_runs` and `attempts` follows the same rule.
 */
function runsAlone({ suspectRuns }: StoredCall): boolean {
  return suspectRuns > 0;
}

function crashesAlone({ suspectRuns }: StoredCall): number {
  return suspectRuns - 1;
}
