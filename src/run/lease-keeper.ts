import { LeaseLostError } from "../errors.js";
import type { ClaimedCall } from "../store/claim-calls.js";
import type { Store } from "../store/store.js";
import type { Logger } from "../types.js";
import { LazyAbort } from "./lazy-abort.js";
import { RenewalTimer } from "./renewal-timer.js";

/** A claimed call whose lease is renewed; aborts what runs under it when that is lost. */
export class Kept extends LazyAbort {
  readonly call: ClaimedCall;
  /** On this process's own monotonic clock: see `LeaseClock`, of which each of thousands would be an object more. */
  endsAt: number;
  /** Its run has ended: from then on the answer to its settling tells whether the lease is lost, since a settled call is gone. */
  isSettling = false;
  readonly #keeper: LeaseKeeper;

  constructor(keeper: LeaseKeeper, call: ClaimedCall, endsAt: number) {
    super();
    this.#keeper = keeper;
    this.call = call;
    this.endsAt = endsAt;
  }

  override get isSure(): boolean {
    return performance.now() < this.endsAt;
  }

  override makeSure(): Promise<void> {
    return this.#keeper.makeSure(this);
  }
}

export interface LeaseKeeperOptions {
  store: Pick<Store, "renewCalls">;
  leaseMs: number;
  logger: Logger;
  onLost: (call: ClaimedCall) => void;
}

const MOST_PER_STATEMENT = 1000;

/** Renews the leases of calls from their claim until they are settled, also while an application's pool is exhausted. */
export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  readonly #kept = new Set<Kept>();
  #timer: RenewalTimer | undefined;
  #renewing: Promise<void> | undefined;
  #hasFailed = false;

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
  }

  /**
   * @param askedAt `performance.now()` from before the claim
   * @returns undefined where its lease has ended already
   */
  keep(call: ClaimedCall, askedAt: number): Kept | undefined {
    const kept = new Kept(this, call, askedAt + this.#options.leaseMs);
    if (!kept.isSure) return undefined;
    this.#kept.add(kept);
    this.#timer ??= new RenewalTimer(this.#options.leaseMs, (isLate) => this.#tick(isLate));
    return kept;
  }

  /** @returns false where the lease was found lost in the meantime */
  forget(kept: Kept): boolean {
    const wasKept = this.#kept.delete(kept);
    if (this.#kept.size === 0) {
      this.#timer?.stop();
      this.#timer = undefined;
    }
    return wasKept;
  }

  /** One statement at a time. A lease that has ended is lost once more time was asked for in vain, which a late tick cannot tell. */
  #tick(isLate: boolean): void {
    if (!isLate && (this.#hasFailed || this.#renewing)) this.#loseEnded();
    void this.#renewAll();
  }

  /** Asked again where the answer had been waited for for so long that it says nothing any more. */
  async makeSure(kept: Kept): Promise<void> {
    while (!kept.isSure && this.#kept.has(kept)) await this.#renewAll();
  }

  #renewAll(): Promise<void> {
    return (this.#renewing ??= this.#renew().finally(() => (this.#renewing = undefined)));
  }

  async #renew(): Promise<void> {
    const { store, logger } = this.#options;
    const all = [...this.#kept];
    for (let start = 0; start < all.length; start += MOST_PER_STATEMENT) {
      const kept = all.slice(start, start + MOST_PER_STATEMENT);
      const askedAt = performance.now();
      try {
        const held = new Set(await store.renewCalls(kept.map(({ call }) => call.lease)));
        this.#hasFailed = false;
        for (const one of kept) {
          if (held.has(one.call.lease)) one.endsAt = askedAt + this.#options.leaseMs;
          else if (!one.isSettling && this.forget(one)) this.#lose(one);
        }
      } catch (error) {
        this.#hasFailed = true;
        logger.warn({ err: error }, "leases could not be renewed; they are tried again before they end");
        this.#loseEnded();
      }
    }
  }

  #loseEnded(): void {
    for (const one of this.#kept) {
      if (!one.isSure && !one.isSettling && this.forget(one)) this.#lose(one);
    }
  }

  #lose(kept: Kept): void {
    const { call } = kept;
    kept.abort(new LeaseLostError(`the lease of call ${call.id} was lost; another process may run it now`));
    this.#options.onLost(call);
  }
}
