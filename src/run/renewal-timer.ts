const TICKS_PER_LEASE = 3;

/**
 * Ticks three times in a lease. A tick that comes late says so: the event loop was blocked, and the answer to a renewal may lie
 * on the connection unread, behind the timers.
 */
export class RenewalTimer {
  readonly #timer: NodeJS.Timeout;
  #tickedAt = performance.now();

  constructor(leaseMs: number, onTick: (isLate: boolean) => void) {
    const everyMs = leaseMs / TICKS_PER_LEASE;
    const tick = () => {
      const isLate = performance.now() - this.#tickedAt > 1.5 * everyMs;
      this.#tickedAt = performance.now();
      onTick(isLate);
    };
    this.#timer = setInterval(tick, everyMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
