import type { ClaimedCall } from "../store/claim-calls.js";
import type { Pass } from "../run/pass.js";
import type { StrategyParts } from "./parts.js";

/** How long an unroutable call is left alone, on average: it must not stand in front of the others at every pass. */
const UNROUTABLE_PAUSE_MS = 10_000;
/** How long suspects are left alone for whom there is no room. */
const SUSPECTS_PAUSE_MS = 2000;

/** Gives claimed calls back that are not run here, or not now. Never rejects: their leases would end by themselves. */
export class ClaimedCalls {
  readonly #options: Pick<StrategyParts, "store" | "events" | "logger">;

  constructor(options: Pick<StrategyParts, "store" | "events" | "logger">) {
    this.#options = options;
  }

  /** They are due again at once. Who claims a suspect next shall suspect it, too. */
  release(calls: readonly ClaimedCall[], delayMs = 0): Promise<void> {
    const { store } = this.#options;
    const leasesOf = (isSuspect: boolean) =>
      calls.filter((call) => call.isSuspect === isSuspect).map(({ lease }) => lease);
    return this.#giveBack(async () => {
      await store.releaseCalls(leasesOf(false), delayMs);
      await store.endLeases(leasesOf(true), delayMs);
    });
  }

  /** Not run, not counted, not dropped: another process may know the function. */
  async unroutable(calls: readonly ClaimedCall[], pass: Pass | undefined): Promise<void> {
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
    await this.release(calls, jittered(UNROUTABLE_PAUSE_MS));
  }

  /** Suspects for whom there is no room. */
  postpone(calls: readonly ClaimedCall[]): Promise<void> {
    return this.#end(calls, jittered(SUSPECTS_PAUSE_MS));
  }

  /** A suspect that is not begun. */
  endLease(call: ClaimedCall): Promise<void> {
    return this.#end([call], 0);
  }

  #end(calls: readonly ClaimedCall[], delayMs: number): Promise<void> {
    const leases = calls.map(({ lease }) => lease);
    return this.#giveBack(() => this.#options.store.endLeases(leases, delayMs));
  }

  async #giveBack(giveBack: () => Promise<void>): Promise<void> {
    try {
      await giveBack();
    } catch (error) {
      this.#options.logger.warn(
        { err: error },
        "claimed calls could not be given back; their leases will end by themselves",
      );
    }
  }
}

/** Not the same for all: processes in step would keep each other's calls away from the one that can run them. */
function jittered(ms: number): number {
  return ms * (0.5 + Math.random());
}
