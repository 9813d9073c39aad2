import { withPlainError } from "../run/error-text.js";
import { firstThatWorks, stubbornly } from "../run/stubbornly.js";
import type { StreamLease, StreamSettlement } from "../store/serve-stream.js";
import type { StrategyParts } from "./parts.js";
import type { LaneSettled } from "./lane-parts.js";
import type { StreamLeaseKeeper } from "./stream-lease.js";

/** What became of a call, with the ordering key whose calls are settled in their order. */
export interface KeySettlement {
  key: string;
  settlement: StreamSettlement;
}

/** Writes down what became of the calls and keys of a stream, under its lease. */
export class StreamSettler {
  readonly #options: Pick<StrategyParts, "store" | "leaseMs" | "logger">;
  readonly #lease: StreamLease;
  readonly #keeper: StreamLeaseKeeper;
  /**
   * A key with a call that could not be settled settles nothing more: that call will be repeated, and what came after it has
   * to follow it then.
   */
  readonly #failed = new Map<string, unknown>();

  constructor(
    options: Pick<StrategyParts, "store" | "leaseMs" | "logger">,
    lease: StreamLease,
    keeper: StreamLeaseKeeper,
  ) {
    this.#options = options;
    this.#lease = lease;
    this.#keeper = keeper;
  }

  /** Resolves when all were tried, to what became of each. */
  async settle(outcomes: readonly KeySettlement[]): Promise<LaneSettled[]> {
    const isAnyFailed = this.#failed.size > 0 && outcomes.some(({ key }) => this.#failed.has(key));
    if (!isAnyFailed) {
      try {
        const isHeld = await this.#send(outcomes.map(({ settlement }) => settlement));
        return outcomes.map(() => isHeld);
      } catch (error) {
        this.#options.logger.warn(
          { err: error, stream: this.#lease.stream, settlements: outcomes.length },
          "could not be settled together; each is tried alone",
        );
      }
    }
    return this.#settleEach(outcomes);
  }

  /** Of calls that were not run. */
  async settleUnrun(settlements: readonly StreamSettlement[]): Promise<void> {
    await stubbornly(() => this.#send(settlements), this.#options.leaseMs);
  }

  async #settleEach(outcomes: readonly KeySettlement[]): Promise<LaneSettled[]> {
    const results: LaneSettled[] = [];
    // Where one was tried in vain for the time of a lease, the others have one try each: they must not wait for as long.
    let patienceMs = this.#options.leaseMs;
    for (const { key, settlement } of outcomes) {
      try {
        results.push(await this.#settleAlone(key, settlement, patienceMs));
      } catch (error) {
        this.#failed.set(key, error);
        results.push({ error });
        patienceMs = 0;
      }
    }
    return results;
  }

  async #settleAlone(key: string, settlement: StreamSettlement, patienceMs: number): Promise<boolean> {
    if (this.#failed.has(key)) throw this.#failed.get(key);
    const variants =
      settlement.kind === "hold"
        ? withPlainError(settlement.head, (head): StreamSettlement => ({ ...settlement, head }))
        : withPlainError(settlement, (one): StreamSettlement => one);
    return stubbornly(() => firstThatWorks(variants, (variant) => this.#send([variant])), patienceMs);
  }

  /** Once the lease is lost nothing more is sent: what was not written down before will be repeated, and this would overtake it. */
  async #send(settlements: readonly StreamSettlement[]): Promise<boolean> {
    if (this.#keeper.isLost) return false;
    const isHeld = await this.#options.store.settleStream(this.#lease, settlements);
    if (!isHeld) this.#keeper.lose();
    return isHeld;
  }
}
