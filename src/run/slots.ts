interface Waiting {
  wanted: number;
  resolve: (isTaken: boolean) => void;
}

/** How many more runs this process may start. Whoever waits is served in turn. */
export class Slots {
  readonly #size: number;
  #free: number;
  readonly #waiting: Waiting[] = [];

  constructor(size: number) {
    this.#size = size;
    this.#free = size;
  }

  /** Waits for a slot, and takes it with up to `most - 1` others that are free at that moment. @returns how many it took */
  async take(most = 1): Promise<number> {
    await this.#takeExactly(1);
    const more = Math.min(most - 1, this.#waiting.length > 0 ? 0 : this.#free);
    this.#free -= more;
    return 1 + more;
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
    for (let next = this.#waiting[0]; next && next.wanted <= this.#free; next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#free -= next.wanted;
      next.resolve(true);
    }
  }

  async #takeExactly(wanted: number, patienceMs?: number): Promise<boolean> {
    if (this.#waiting.length === 0 && wanted <= this.#free) {
      this.#free -= wanted;
      return true;
    }
    let timer: NodeJS.Timeout | undefined;
    const isTaken = await new Promise<boolean>((resolve) => {
      const waiting = { wanted, resolve };
      this.#waiting.push(waiting);
      if (patienceMs !== undefined) timer = setTimeout(() => this.#leave(waiting), patienceMs);
    });
    clearTimeout(timer);
    return isTaken;
  }

  /** Those behind it may have waited for it alone. */
  #leave(waiting: Waiting): void {
    this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
    waiting.resolve(false);
    this.give(0);
  }
}
