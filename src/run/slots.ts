/** How many more runs this process may start. Whoever waits is served in turn. */
export class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(size: number) {
    this.#free = size;
  }

  /** Waits for a slot, and takes it with up to `most - 1` others that are free at that moment. @returns how many it took */
  async take(most = 1): Promise<number> {
    if (this.#free === 0 || this.#waiting.length > 0) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#free -= 1;
    }
    const more = Math.min(most - 1, this.#waiting.length > 0 ? 0 : this.#free);
    this.#free -= more;
    return 1 + more;
  }

  /** Takes up to `most` slots that are free now, none if somebody waits for one. */
  takeFree(most: number): number {
    const taken = this.#waiting.length > 0 ? 0 : Math.min(most, this.#free);
    this.#free -= taken;
    return taken;
  }

  give(count = 1): void {
    for (let given = 0; given < count; given++) {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }
}
