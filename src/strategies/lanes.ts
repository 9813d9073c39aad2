import type { QueuedCall } from "../store/fetch-stream.js";
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

  /** @param name of its key */
  get(name: string): Lane | undefined {
    return this.#lanes.get(name);
  }

  /** Those that stand aside. */
  get keysAside(): Buffer[] {
    return [...this].flatMap((lane) => (lane.isAside ? [lane.key] : []));
  }

  /** One that is not started yet. */
  open(name: string, calls: QueuedCall[], kind: LaneKind): Lane {
    const lane = new Lane(this.#parts, name, calls, kind);
    this.#lanes.set(name, lane);
    return lane;
  }

  /** @param isFailure nothing more is begun then, which who waits has to see */
  end(lane: Lane, isFailure: boolean): void {
    this.#lanes.delete(lane.name);
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
