import type { CallSettlement } from "../store/settle-calls.js";
import type { Store } from "../store/store.js";
import type { Logger } from "../types.js";
import { Batches } from "./batches.js";
import { withPlainError } from "./error-text.js";
import { Gathering } from "./gathering.js";
import { firstThatWorks, stubbornly } from "./stubbornly.js";

/** What became of a settlement. `unsettled`: the database did not say; the call may run again. */
export type Settling = "settled" | "lease-lost" | "unsettled";

export interface SettlerOptions {
  store: Pick<Store, "settleCalls">;
  leaseMs: number;
  logger: Logger;
}

/** An outcome on its way, which wants to know how that ends. */
export interface Pending extends CallSettlement {
  concluded(settling: Settling): void;
}

/** Writes down the outcomes of publish-on-commit runs, many at once. */
export class Settler {
  readonly #options: SettlerOptions;
  readonly #batches = new Batches<Pending>((pending) => this.#settleAll(pending), new Gathering());

  constructor(options: SettlerOptions) {
    this.#options = options;
  }

  settle(pending: Pending): void {
    this.#batches.add(pending);
  }

  async #settleAll(pending: readonly Pending[]): Promise<void> {
    let lost: Set<CallSettlement>;
    try {
      lost = await this.#send(pending);
    } catch (error) {
      this.#options.logger.warn(
        { err: error, calls: pending.length },
        "outcomes could not be settled together; each is tried alone",
      );
      for (const one of pending) void this.#settleAlone(one);
      return;
    }
    for (const one of pending) tell(one, lost.has(one) ? "lease-lost" : "settled");
  }

  async #settleAlone(pending: Pending): Promise<void> {
    const { leaseMs, logger } = this.#options;
    const { lease } = pending;
    let settling: Settling = "unsettled";
    try {
      const variants = withPlainError(pending.settled, (settled) => ({ lease, settled }));
      const lost = await stubbornly(() => firstThatWorks(variants, (variant) => this.#send([variant])), leaseMs);
      if (lost.size === 0) settling = "settled";
      else logger.warn({}, "an outcome was sent and the answer lost: it was settled then, or the call will run again");
    } catch (error) {
      logger.error({ err: error }, "an outcome could not be settled; the call will run again when its lease ends");
    }
    tell(pending, settling);
  }

  /** @returns those whose lease is lost */
  async #send(settlements: readonly CallSettlement[]): Promise<Set<CallSettlement>> {
    return new Set(await this.#options.store.settleCalls(settlements));
  }
}

/** One that throws, such as a logger, keeps nobody else from being told. */
function tell(pending: Pending, settling: Settling): void {
  try {
    pending.concluded(settling);
  } catch {
    // What was settled is settled.
  }
}
