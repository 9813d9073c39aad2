import { setImmediate } from "node:timers/promises";
import type { Gathering } from "./gathering.js";

/** In one flush. */
const MOST_ITEMS = 500;

/**
 * Collects items while a flush is on its way, and sends what has collected as the next one: one statement for many.
 *
 * `Group`, for those who have no time for a promise each: an item carries with it who is to be told.
 */
export class Batches<Item> {
  readonly #flush: (items: Item[]) => Promise<void>;
  readonly #gathering: Gathering | undefined;
  #waiting: Item[] = [];
  #isFlushing = false;

  /**
   * @param flush never rejects
   * @param gathering spaces out the flushes (Default: each follows the one before at once)
   */
  constructor(flush: (items: Item[]) => Promise<void>, gathering?: Gathering) {
    this.#flush = flush;
    this.#gathering = gathering;
  }

  add(item: Item): void {
    this.#waiting.push(item);
    if (!this.#isFlushing) void this.#run();
    else this.#gathering?.grown(this.#waiting.length);
  }

  async #run(): Promise<void> {
    this.#isFlushing = true;
    try {
      // What is added in this turn of the event loop goes along with the first.
      await setImmediate();
      while (this.#waiting.length > 0) {
        this.#gathering?.begin();
        await this.#flush(this.#waiting.splice(0, MOST_ITEMS));
        if (this.#waiting.length > 0) await this.#gathering?.pause(this.#waiting.length);
      }
    } finally {
      this.#isFlushing = false;
    }
  }
}
