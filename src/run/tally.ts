interface Waiting {
  most: number;
  resolve: () => void;
}

/** Counts what is under way, for those who wait until little is. */
export class Tally {
  #count = 0;
  #waiting: Waiting[] = [];

  get count(): number {
    return this.#count;
  }

  begin(): void {
    this.#count += 1;
  }

  end(): void {
    this.#count -= 1;
    if (this.#waiting.length === 0) return;
    const served = this.#waiting.filter(({ most }) => this.#count <= most);
    if (served.length === 0) return;
    this.#waiting = this.#waiting.filter(({ most }) => this.#count > most);
    for (const { resolve } of served) resolve();
  }

  /** What is under way until the promise settles. */
  during(work: Promise<unknown>): void {
    this.begin();
    const end = () => this.end();
    work.then(end, end);
  }

  /** Resolves at a moment at which no more than this is under way; by the time that it is heard of more may be. */
  async fallsTo(most: number): Promise<void> {
    if (this.#count > most) await new Promise<void>((resolve) => this.#waiting.push({ most, resolve }));
  }
}
