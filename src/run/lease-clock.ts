/**
 * When a lease ends, on this process's own monotonic clock: counted from before it was asked for, so that it never ends
 * later here than in the database.
 */
export class LeaseClock {
  readonly #leaseMs: number;
  #endsAt: number;

  /** @param askedAt `performance.now()` from before the lease was asked for */
  constructor(leaseMs: number, askedAt: number) {
    this.#leaseMs = leaseMs;
    this.#endsAt = askedAt + leaseMs;
  }

  get hasEnded(): boolean {
    return performance.now() >= this.#endsAt;
  }

  renewed(askedAt: number): void {
    this.#endsAt = askedAt + this.#leaseMs;
  }
}
