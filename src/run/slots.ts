/** One that waits for slots. */
export interface SlotWaiter {
  readonly wanted: number;
  /** Is called with the slots taken, or to say that the wait is over. */
  served(isTaken: boolean): void;
}

/** How many more runs this process may start. Whoever waits is served in turn. */
export class Slots {
  readonly #size: number;
  #free: number;
  readonly #waiting: SlotWaiter[] = [];
  #isServing = false;

  constructor(size: number) {
    this.#size = size;
    this.#free = size;
  }

  /** Free or taken. */
  get size(): number {
    return this.#size;
  }

  /** Waits for a slot, and takes it with up to `most - 1` others that are free at that moment. @returns how many it took */
  async take(most = 1): Promise<number> {
    await this.#takeExactly(1);
    const more = Math.min(most - 1, this.#waiting.length > 0 ? 0 : this.#free);
    this.#free -= more;
    return 1 + more;
  }

  /** `take` of a single one for those who have no time for a promise: `served` is called once the slot is taken, at once if it can. */
  request(waiter: SlotWaiter): void {
    if (this.takeFree(1) === 1) waiter.served(true);
    else this.#waiting.push(waiter);
  }

  /**
   * Waits until nothing runs, and lets nothing else start, for so long at most.
   *
   * @returns how many it took; 0 where something still runs
   */
  async takeAll(patienceMs: number): Promise<number> {
    return (await this.#takeExactly(this.#size, patienceMs)) ? this.#size : 0;
  }

  /** Takes up to `most` slots that are free now, none if somebody waits for one. */
  takeFree(most: number): number {
    const taken = this.#waiting.length > 0 ? 0 : Math.min(most, this.#free);
    this.#free -= taken;
    return taken;
  }

  give(count = 1): void {
    this.#free += count;
    // Who is served may give back at once.
    if (this.#isServing) return;
    this.#isServing = true;
    try {
      for (let next = this.#waiting[0]; next && next.wanted <= this.#free; next = this.#waiting[0]) {
        this.#waiting.shift();
        this.#free -= next.wanted;
        next.served(true);
      }
    } finally {
      this.#isServing = false;
    }
  }

  async #takeExactly(wanted: number, patienceMs?: number): Promise<boolean> {
    if (this.#waiting.length === 0 && wanted <= this.#free) {
      this.#free -= wanted;
      return true;
    }
    let timer: NodeJS.Timeout | undefined;
    const isTaken = await new Promise<boolean>((resolve) => {
      const waiting = { wanted, served: resolve };
      this.#waiting.push(waiting);
      if (patienceMs !== undefined) timer = setTimeout(() => this.#leave(waiting), patienceMs);
    });
    clearTimeout(timer);
    return isTaken;
  }

  /** Those behind it may have waited for it alone. */
  #leave(waiting: SlotWaiter): void {
    this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
    waiting.served(false);
    this.give(0);
  }
}
