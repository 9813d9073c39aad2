import type { QueuedCall } from "../store/fetch-stream.js";
import { nameOf } from "./key-name.js";
import { Lane } from "./lane.js";
import type { LaneKind, LaneParts } from "./lane-parts.js";

/** The ordering keys of a stream whose calls are being run. */
export class Lanes {
  readonly #parts: LaneParts;
  readonly #lanes = new Map<string, Lane>();
  #onFew: { most: number; tell: () => void } | undefined;

  constructor(parts: LaneParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#lanes.size;
  }

  [Symbol.iterator](): IterableIterator<Lane> {
    return this.#lanes.values();
  }

  of(key: Buffer): Lane | undefined {
    return this.#lanes.get(nameOf(key));
  }

  /** Those that stand aside. */
  get keysAside(): Buffer[] {
    return [...this].flatMap((lane) => (lane.isAside ? [lane.key] : []));
  }

  start(key: Buffer, calls: QueuedCall[], kind: LaneKind): void {
    const lane = new Lane(this.#parts, key, calls, kind);
    this.#lanes.set(nameOf(key), lane);
    lane.start();
  }

  /** @param isFailure nothing more is begun then, which who waits has to see */
  end(lane: Lane, isFailure: boolean): void {
    this.#lanes.delete(nameOf(lane.key));
    if (this.#onFew && (isFailure || this.#lanes.size <= this.#onFew.most)) this.#onFew.tell();
  }

  /** One waiter at a time: a race over the lanes' promises would leave a handler on each of them at every poll. */
  async untilAtMost(most: number): Promise<void> {
    if (this.#lanes.size <= most) return;
    await new Promise<void>((resolve) => {
      const tell = () => {
        this.#onFew = undefined;
        resolve();
      };
      this.#onFew = { most, tell };
    });
  }
}
