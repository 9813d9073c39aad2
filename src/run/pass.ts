import type { RelayResult } from "../types.js";
import { Tally } from "./tally.js";

export interface PassOptions {
  limit?: number;
  deadline?: Date;
}

const MOST_BLOCKED_SHOWN = 100;

/** One pass of a relay: what it may still do, and what it has done. */
export class Pass {
  #dueByMs: number | undefined;
  readonly result: RelayResult = { published: 0, failed: 0, dead: 0, unroutable: 0, blocked: [], blockedCount: 0 };
  readonly #deadline: number;
  /** The runs that belong to it, and what else it has under way. */
  readonly work = new Tally();
  #budget: number;
  /** Taken off the budget by claims that are under way, and may not need it. */
  #reserved = 0;
  #wakeWaiting: () => void = () => undefined;
  #waiting: Promise<void> | undefined;
  #isStopped = false;
  #isAskedToGiveWay = false;

  constructor({ limit = Infinity, deadline }: PassOptions) {
    this.#budget = limit;
    this.#deadline = deadline?.getTime() ?? Infinity;
  }

  /** The moment, on the database's clock, after which nothing counts as due; undefined for a relayer, which has no end. */
  get dueByMs(): number | undefined {
    return this.#dueByMs;
  }

  begin(dueByMs: number): void {
    this.#dueByMs = dueByMs;
  }

  /** How many more calls may be started. */
  get budget(): number {
    return this.#budget;
  }

  get isOver(): boolean {
    return this.isStopped || (this.#budget <= 0 && this.#reserved === 0);
  }

  /** Whether even what its budget was spent on must not start any more. */
  get isStopped(): boolean {
    return this.#isStopped || this.#isAskedToGiveWay || (this.#deadline !== Infinity && Date.now() >= this.#deadline);
  }

  /** Starts nothing more; what runs goes on. */
  stop(): void {
    this.#isStopped = true;
    this.#wakeWaiting();
  }

  /** Starts nothing more, since others wait for their turn; who cannot make room for them soon may `stay`. */
  giveWay(): void {
    this.#isAskedToGiveWay = true;
    this.#wakeWaiting();
  }

  /** @returns whether it goes on: it was only asked to give way */
  stay(): boolean {
    this.#isAskedToGiveWay = false;
    return !this.isOver;
  }

  /**
   * Takes up to so many calls off the budget, to be given to `use` when it is known how many there were. Waits while others
   * have reserved all that is left.
   *
   * @returns how many; 0 where the pass is over
   */
  async reserve(most: number): Promise<number> {
    while (!this.isOver && this.#budget <= 0) {
      await (this.#waiting ??= new Promise((resolve) => (this.#wakeWaiting = resolve)));
    }
    const reserved = this.isOver ? 0 : Math.min(most, this.#budget);
    this.#budget -= reserved;
    this.#reserved += reserved;
    return reserved;
  }

  /** Takes one call off the budget, to be started now. @returns false where `reserve` would wait, or the pass is over */
  takeOne(): boolean {
    if (this.#budget <= 0 || this.isStopped) return false;
    this.#budget -= 1;
    return true;
  }

  /** How many of the reserved calls are started. The rest of the reservation goes back. */
  use(used: number, reserved: number): void {
    this.#reserved -= reserved;
    this.#budget += reserved - used;
    this.#waiting = undefined;
    this.#wakeWaiting();
  }

  count(outcome: "published" | "failed" | "dead" | "unroutable"): void {
    this.result[outcome] += 1;
  }

  countBlocked(head: RelayResult["blocked"][number]): void {
    this.result.blockedCount += 1;
    if (this.result.blocked.length < MOST_BLOCKED_SHOWN) this.result.blocked.push(head);
  }

  async settled(): Promise<void> {
    while (this.work.count > 0) await this.work.fallsTo(0);
  }
}
