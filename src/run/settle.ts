import type { CallSettlement } from "../store/settle-calls.js";
import type { Store } from "../store/store.js";
import type { Logger } from "../types.js";
import { Group } from "./group.js";
import { withPlainError } from "./error-text.js";
import { firstThatWorks, stubbornly } from "./stubbornly.js";

/** What became of a settlement. `unsettled`: the database did not say; the call may run again. */
export type Settling = "settled" | "lease-lost" | "unsettled";

export interface SettlerOptions {
  store: Pick<Store, "settleCalls">;
  leaseMs: number;
  logger: Logger;
}

/** Writes down the outcomes of publish-on-commit runs, many at once. */
export class Settler {
  readonly #options: SettlerOptions;
  readonly #group: Group<CallSettlement, Settling>;

  constructor(options: SettlerOptions) {
    this.#options = options;
    this.#group = new Group((settlements) => this.#settleAll(settlements));
  }

  settle(settlement: CallSettlement): Promise<Settling> {
    return this.#group.add(settlement);
  }

  async #settleAll(settlements: CallSettlement[]): Promise<(Settling | Promise<Settling>)[]> {
    try {
      return await this.#send(settlements);
    } catch (error) {
      this.#options.logger.warn(
        { err: error, calls: settlements.length },
        "outcomes could not be settled together; each is tried alone",
      );
      return settlements.map((settlement) => this.#settleAlone(settlement));
    }
  }

  async #settleAlone(settlement: CallSettlement): Promise<Settling> {
    const { leaseMs, logger } = this.#options;
    try {
      const variants = withPlainError(settlement.settled, (settled) => ({ ...settlement, settled }));
      const [settling] = await stubbornly(() => firstThatWorks(variants, (variant) => this.#send([variant])), leaseMs);
      if (settling !== "lease-lost") return settling as Settling;
      logger.warn({}, "an outcome was sent and the answer lost: it was settled then, or the call will run again");
      return "unsettled";
    } catch (error) {
      logger.error({ err: error }, "an outcome could not be settled; the call will run again when its lease ends");
      return "unsettled";
    }
  }

  async #send(settlements: CallSettlement[]): Promise<Settling[]> {
    const lost = new Set(await this.#options.store.settleCalls(settlements));
    return settlements.map((settlement) => (lost.has(settlement) ? "lease-lost" : "settled"));
  }
}
