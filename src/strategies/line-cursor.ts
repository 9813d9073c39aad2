import { Few } from "../run/few.js";
import type { Seq } from "../store/dialect.js";
import type { QueuedCall } from "../store/fetch-stream.js";
import type { Ahead } from "../store/read-ahead.js";

/** Calls of a line that are known here, each until it has left the line; and how far the line was read, where none is missing up to there. */
export class LineCursor {
  readonly #known = new Set<string>();
  /** Names of keys that are about to stand aside, for what became of their heads. */
  readonly #held = new Set<string>();
  /** What left while a read was on its way, which may show it still. */
  #left: string[] = [];
  #released: string[] = [];
  #isReading = false;
  #readTo: Seq | undefined;
  readonly #few = new Few();

  /** Behind which call to read on; undefined where the line has to be read from its head. */
  get readTo(): Seq | undefined {
    return this.#readTo;
  }

  /** All up to this call is known. */
  reached(seq: Seq): void {
    this.#readTo = seq;
  }

  /** Calls may be missing that were read, or were there to be read. */
  lose(): void {
    this.#readTo = undefined;
  }

  /** How many wait, run, or are being settled. */
  get count(): number {
    return this.#known.size - this.#left.length;
  }

  isKnown({ seq }: QueuedCall): boolean {
    return this.#known.has(String(seq));
  }

  know({ seq }: QueuedCall): void {
    this.#known.add(String(seq));
  }

  /** It is not in the line any more. */
  leave(seq: Seq): void {
    if (this.#isReading) this.#left.push(String(seq));
    else this.#known.delete(String(seq));
    this.#few.fall(this.count);
  }

  /** They were not run, and nobody has them any more. */
  forget(calls: readonly QueuedCall[]): void {
    if (calls.length === 0) return;
    for (const { seq } of calls) this.#known.delete(String(seq));
    this.lose();
    this.#few.fall(this.count);
  }

  /** What its head was settled as keeps the other calls of this key from being run; the database does not know yet. */
  hold(name: string): void {
    this.#held.add(name);
  }

  /** The database knows, or never will. */
  held(name: string): void {
    if (this.#isReading) this.#released.push(name);
    else this.#held.delete(name);
  }

  /**
   * Reads on by `read`.
   *
   * @returns what follows; undefined where the line has to be read from its head
   */
  async read(read: (after: Seq) => Promise<Ahead | undefined>): Promise<QueuedCall[] | undefined> {
    const after = this.#readTo;
    if (after === undefined) return undefined;
    this.#isReading = true;
    let ahead: Ahead | undefined;
    let isComplete = false;
    try {
      ahead = await read(after);
      isComplete = ahead !== undefined && this.#readTo === after && this.#isComplete(ahead);
    } finally {
      this.#isReading = false;
      for (const seq of this.#left.splice(0)) this.#known.delete(seq);
      for (const name of this.#released.splice(0)) this.#held.delete(name);
      if (!isComplete) this.lose();
    }
    return isComplete ? ahead?.calls : undefined;
  }

  #isComplete({ before, calls }: Ahead): boolean {
    return before.every((seq) => this.#known.has(seq)) && !calls.some((call) => this.#held.has(call.keyName));
  }

  /** Resolves when no more than this are known; one waiter at a time. */
  async fallsTo(most: number): Promise<void> {
    await this.#few.reach(most, this.count);
  }
}
