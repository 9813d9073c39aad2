import { setImmediate } from "node:timers/promises";

/**
 * Collects items while a flush is on its way, and sends what has collected as the next one: one statement for many.
 *
 * `Group`, for those who have no time for a promise each: an item carries with it who is to be told.
 */
export class Batches<Item> {
  readonly #flush: (items: Item[]) => Promise<void>;
  readonly #most: number;
  #waiting: Item[] = [];
  #isFlushing = false;

  /** @param flush never rejects */
  constructor(flush: (items: Item[]) => Promise<void>, most = 500) {
    this.#flush = flush;
    this.#most = most;
  }

  add(item: Item): void {
    this.#waiting.push(item);
    if (!this.#isFlushing) void this.#run();
  }

  async #run(): Promise<void> {
    this.#isFlushing = true;
    try {
      // What is added in this turn of the event loop goes along with the first.
      await setImmediate();
      while (this.#waiting.length > 0) await this.#flush(this.#waiting.splice(0, this.#most));
    } finally {
      this.#isFlushing = false;
    }
  }
}
