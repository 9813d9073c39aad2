import type { Seq } from "../store/dialect.js";
import type { Store } from "../store/store.js";

/** At 100,000 calls a second some 15,000 leave the line until it is raised: a read passes them in 1.6 ms where they cannot be removed. */
const EVERY_MS = 50;

/**
 * Up to where nothing more can appear in a line, so that reads need not begin at its head: under a transaction that is open for
 * hours, what has left the line stays in its index, and each read would pass all of it (seen on PostgreSQL with 200,000: 25 ms).
 *
 * A call that is not there yet, and will have a smaller `seq` than one that is, is being written by a transaction that has
 * locked the table for it. When those that had at some moment after a read have all ended, the next read knows of all theirs.
 */
export class LineFloor {
  readonly #store: Pick<Store, "readWriters">;
  #seq: Seq | undefined;
  #next: { seq: Seq; writers: readonly string[]; haveEnded: boolean } | undefined;
  #lookedAt = performance.now();

  constructor(store: Pick<Store, "readWriters">) {
    this.#store = store;
  }

  /** Behind which call reads may begin; undefined for the head. */
  get seq(): Seq | undefined {
    return this.#seq;
  }

  /** The last read has named all that was left up to this call. */
  async raise(seq: Seq): Promise<void> {
    if (this.#next?.haveEnded) {
      this.#seq = this.#next.seq;
      this.#next = undefined;
    }
    if (performance.now() - this.#lookedAt < EVERY_MS) return;
    const writers = await this.#store.readWriters();
    this.#lookedAt = performance.now();
    if (writers === undefined) return;
    const next = (this.#next ??= { seq, writers, haveEnded: false });
    next.haveEnded = !next.writers.some((writer) => writers.includes(writer));
  }

  /** Something may have come back in front of it. */
  reset(): void {
    this.#seq = this.#next = undefined;
  }
}
