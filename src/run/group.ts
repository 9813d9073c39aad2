interface Waiting<Item, Result> {
  item: Item;
  resolve: (result: Result | PromiseLike<Result>) => void;
  reject: (error: unknown) => void;
}

/**
 * Resolves to a result for each item, in their order; a rejection is each item's. A result that is a promise is that of its
 * item alone: the next flush does not wait for it.
 */
type Flush<Item, Result> = (items: Item[]) => Promise<(Result | PromiseLike<Result>)[]>;

/** Collects items while a flush is on its way, and sends what has collected as the next one: one statement for many. */
export class Group<Item, Result> {
  readonly #flush: Flush<Item, Result>;
  readonly #most: number;
  #waiting: Waiting<Item, Result>[] = [];
  #isFlushing = false;

  constructor(flush: Flush<Item, Result>, most = 500) {
    this.#flush = flush;
    this.#most = most;
  }

  add(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      if (!this.#isFlushing) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#isFlushing = true;
    // What is added in the same tick goes along with the first.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0, this.#most);
      try {
        const results = await this.#flush(group.map(({ item }) => item));
        group.forEach(({ resolve }, index) => resolve(results[index] as Result));
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
    }
    this.#isFlushing = false;
  }
}
