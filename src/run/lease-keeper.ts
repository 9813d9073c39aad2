import { LeaseLostError } from "../errors.js";
import type { ClaimedCall } from "../store/claim-calls.js";
import type { Store } from "../store/store.js";
import type { Logger } from "../types.js";
import { LazyAbort } from "./lazy-abort.js";
import { LeaseClock } from "./lease-clock.js";
import { RenewalTimer } from "./renewal-timer.js";

interface Kept {
  call: ClaimedCall;
  clock: LeaseClock;
  abort: LazyAbort;
  isSettling: boolean;
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
  readonly #kept = new Map<ClaimedCall, Kept>();
  #timer: RenewalTimer | undefined;
  #renewing: Promise<void> | undefined;
  #hasFailed = false;

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
  }

  /**
   * @param askedAt `performance.now()` from before the claim
   * @returns what aborts when the lease is lost; undefined where it has ended already
   */
  keep(call: ClaimedCall, askedAt: number): LazyAbort | undefined {
    const clock = new LeaseClock(this.#options.leaseMs, askedAt);
    if (clock.hasEnded) return undefined;
    const abort = new LazyAbort();
    this.#kept.set(call, { call, clock, abort, isSettling: false });
    this.#timer ??= new RenewalTimer(this.#options.leaseMs, (isLate) => this.#tick(isLate));
    return abort;
  }

  /** The run has ended: from now on the answer to its settling tells whether the lease is lost, since a settled call is gone. */
  settling(call: ClaimedCall): void {
    const kept = this.#kept.get(call);
    if (kept) kept.isSettling = true;
  }

  /** @returns false where the lease was found lost in the meantime */
  forget(call: ClaimedCall): boolean {
    const wasKept = this.#kept.delete(call);
    if (this.#kept.size === 0) {
      this.#timer?.stop();
      this.#timer = undefined;
    }
    return wasKept;
  }

  /** One statement at a time. A lease that has ended is lost once more time was asked for in vain, which a late tick cannot tell. */
  #tick(isLate: boolean): void {
    if (!isLate && (this.#hasFailed || this.#renewing)) this.#loseEnded();
    this.#renewing ??= this.#renew().finally(() => (this.#renewing = undefined));
  }

  async #renew(): Promise<void> {
    const { store, logger } = this.#options;
    const all = [...this.#kept.values()];
    for (let start = 0; start < all.length; start += MOST_PER_STATEMENT) {
      const kept = all.slice(start, start + MOST_PER_STATEMENT);
      const askedAt = performance.now();
      try {
        const held = new Set(await store.renewCalls(kept.map(({ call }) => call.lease)));
        this.#hasFailed = false;
        for (const one of kept) {
          if (held.has(one.call.lease)) one.clock.renewed(askedAt);
          else if (!one.isSettling && this.forget(one.call)) this.#lose(one);
        }
      } catch (error) {
        this.#hasFailed = true;
        logger.warn({ err: error }, "leases could not be renewed; they are tried again before they end");
        this.#loseEnded();
      }
    }
  }

  #loseEnded(): void {
    for (const one of this.#kept.values()) {
      if (one.clock.hasEnded && !one.isSettling && this.forget(one.call)) this.#lose(one);
    }
  }

  #lose({ call, abort }: Kept): void {
    abort.abort(new LeaseLostError(`the lease of call ${call.id} was lost; another process may run it now`));
    this.#options.onLost(call);
  }
}
