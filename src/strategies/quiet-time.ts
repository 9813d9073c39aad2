import type { Slots } from "../run/slots.js";
import type { QueuedCall } from "../store/fetch-stream.js";
import type { StreamLease } from "../store/serve-stream.js";
import type { Store } from "../store/store.js";
import type { Logger } from "../types.js";
import type { StreamLeaseKeeper } from "./stream-lease.js";

/** Who has a stream served decides whether it is kept while it has nothing to do. */
export interface Keeping {
  /** Whether what comes would be told here, and nobody waits for another stream's turn. */
  isWorthwhile(): boolean;
  /** It is quiet from now on; `end` has it given back at once. */
  began(end: () => void): void;
  /** It is given back, or being looked at again. */
  ended(): void;
}

export interface QuietTimeParts {
  store: Pick<Store, "lookAgain">;
  slots: Slots;
  logger: Logger;
  leaseMs: number;
  pollIntervalMs: number;
  lease: StreamLease;
  keeper: StreamLeaseKeeper;
  /** (Default: it is not kept) */
  keeping?: Keeping | undefined;
}

/** From the last look that brought something. Where calls come more rarely, acquiring the lease anew is no loss. */
const KEPT_MS = 5000;
const LONGEST_PAUSE_MS = 1000;

/**
 * A stream is kept for a while after its last call has run: a wake-up then needs one statement before the next one runs,
 * where finding the stream, acquiring its lease and reading it took five, one of them a write that waits for the disk.
 */
export class QuietTime {
  readonly #parts: QuietTimeParts;
  /** The last one was over at once, for something that a look did not find. */
  #wasInVain = false;

  constructor(parts: QuietTimeParts) {
    this.#parts = parts;
  }

  /**
   * Nothing is known of the stream, at the beginning or after a quiet time.
   *
   * @returns its line; undefined where more has to be asked
   */
  async look(length: number): Promise<QueuedCall[] | undefined> {
    const { store, lease, keeper } = this.#parts;
    const { isLost, calls } = await store.lookAgain(lease, length);
    if (isLost) keeper.lose();
    else keeper.resume();
    return calls;
  }

  /** @returns whether something calls for a look; else the stream is to be given back */
  async pass(woken: Promise<void>): Promise<boolean> {
    const { keeping, keeper, logger, lease } = this.#parts;
    if (!keeping?.isWorthwhile() || !this.#hasSlot) return false;
    const ended = new Promise<void>((resolve) => keeping.began(resolve));
    keeper.rest();
    try {
      return await this.#untilCalledFor(woken, ended);
    } catch (error) {
      logger.warn({ err: error, stream: lease.stream }, "a quiet stream could not be looked at; it is given back");
      return false;
    } finally {
      keeping.ended();
    }
  }

  async #untilCalledFor(woken: Promise<void>, ended: Promise<void>): Promise<boolean> {
    const { store, lease, keeper, keeping, leaseMs, pollIntervalMs } = this.#parts;
    const pollMs = Math.min(pollIntervalMs, leaseMs / 2, LONGEST_PAUSE_MS);
    const until = performance.now() + KEPT_MS;
    for (let polls = 0; ; polls++) {
      const { isLost, calls } = await store.lookAgain(lease, 1);
      if (isLost) keeper.lose();
      if (isLost) return false;
      const isInVain = this.#wasInVain && polls === 0;
      this.#wasInVain = calls?.length !== 0;
      if (this.#wasInVain) return !isInVain;
      const event = await first({ woken, ended }, pollMs);
      // What runs elsewhere in this process may take long: another one may have a slot for it.
      if (event === "woken") return this.#hasSlot;
      if (event === "ended" || !keeping?.isWorthwhile() || performance.now() >= until) return false;
    }
  }

  get #hasSlot(): boolean {
    const { slots } = this.#parts;
    const taken = slots.takeFree(1);
    slots.give(taken);
    return taken === 1;
  }
}

async function first(events: { woken: Promise<void>; ended: Promise<void> }, withinMs: number) {
  let timer: NodeJS.Timeout | undefined;
  const event = await Promise.race([
    events.ended.then(() => "ended" as const),
    events.woken.then(() => "woken" as const),
    new Promise<"nothing">((resolve) => (timer = setTimeout(resolve, withinMs, "nothing"))),
  ]);
  clearTimeout(timer);
  return event;
}
