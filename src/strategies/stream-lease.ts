import { LeaseLostError } from "../errors.js";
import type { Events } from "../events.js";
import type { StreamLease } from "../store/serve-stream.js";
import type { Store } from "../store/store.js";
import { LazyAbort } from "../run/lazy-abort.js";
import { LeaseClock } from "../run/lease-clock.js";
import { RenewalTimer } from "../run/renewal-timer.js";
import type { Logger } from "../types.js";

export interface StreamLeaseKeeperOptions {
  store: Pick<Store, "renewStream">;
  events: Events;
  logger: Logger;
  lease: StreamLease;
  leaseMs: number;
  /** `performance.now()` from before the lease was asked for. */
  askedAt: number;
  onLost: () => void;
}

/** Of a run under a stream's lease. */
class StreamAbort extends LazyAbort {
  readonly #keeper: StreamLeaseKeeper;

  constructor(keeper: StreamLeaseKeeper) {
    super();
    this.#keeper = keeper;
  }

  override get isSure(): boolean {
    return this.#keeper.isSure;
  }

  override makeSure(): Promise<void> {
    return this.#keeper.makeSure();
  }
}

/** Renews a stream's lease while it is served, and aborts what runs under it when it is lost. */
export class StreamLeaseKeeper {
  readonly #options: StreamLeaseKeeperOptions;
  readonly #timer: RenewalTimer;
  readonly #running = new Set<LazyAbort>();
  readonly #clock: LeaseClock;
  #renewing: Promise<void> | undefined;
  #hasFailed = false;
  #isResting = false;
  #isLost = false;
  #isStopped = false;

  constructor(options: StreamLeaseKeeperOptions) {
    this.#options = options;
    this.#clock = new LeaseClock(options.leaseMs, options.askedAt);
    this.#timer = new RenewalTimer(options.leaseMs, (isLate) => this.#tick(isLate));
  }

  /** Whether a run may start without asking the database again. */
  get isSure(): boolean {
    return !this.#isLost && !this.#clock.hasEnded;
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  /** Nothing runs under it: losing it harms nobody. */
  rest(): void {
    this.#isResting = true;
  }

  resume(): void {
    this.#isResting = false;
  }

  /** A run begins. @returns what aborts when the lease is lost */
  begin(): LazyAbort {
    const abort = new StreamAbort(this);
    this.#running.add(abort);
    return abort;
  }

  end(abort: LazyAbort): void {
    this.#running.delete(abort);
  }

  /** The lease is somebody else's, or may be. */
  lose(): void {
    if (this.#isLost) return;
    this.#isLost = true;
    this.stop();
    if (!this.#isResting) this.#tellLost();
    this.#options.onLost();
  }

  #tellLost(): void {
    const { stream } = this.#options.lease;
    const error = new LeaseLostError(`the lease of stream "${stream}" was lost; another process may serve it now`);
    for (const abort of this.#running) abort.abort(error);
    this.#options.logger.error({ stream }, "lease lost: what was running could not be settled");
    this.#options.events.emit("leaseLost", { stream });
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer.stop();
  }

  /**
   * Resolves when a run may start, or the lease is lost. Asked again where the answer had been waited for for so long that it
   * says nothing any more: it may have lain on the connection while this process was stopped.
   */
  async makeSure(): Promise<void> {
    while (!this.isSure && !this.#isStopped) await this.renew();
  }

  /** Asks for more time, one statement at a time, and resolves when that was answered: `isLost` tells how. */
  renew(): Promise<void> {
    return (this.#renewing ??= this.#askForMore().finally(() => (this.#renewing = undefined)));
  }

  /** A lease that has ended is lost once more time was asked for in vain, which a late tick cannot tell. */
  #tick(isLate: boolean): void {
    if (!isLate && this.#clock.hasEnded && (this.#hasFailed || this.#renewing)) this.lose();
    else void this.renew();
  }

  async #askForMore(): Promise<void> {
    const { store, lease, logger } = this.#options;
    const askedAt = performance.now();
    try {
      const isHeld = await store.renewStream(lease);
      this.#hasFailed = false;
      if (isHeld) this.#clock.renewed(askedAt);
      // One that was released while the statement ran is gone, and not lost.
      else if (!this.#isStopped) this.lose();
    } catch (error) {
      this.#hasFailed = true;
      const { stream } = lease;
      logger.warn({ err: error, stream }, "a stream's lease could not be renewed; it is tried again before it ends");
      if (this.#clock.hasEnded && !this.#isStopped) this.lose();
    }
  }
}
