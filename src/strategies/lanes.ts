import { Few } from "../run/few.js";
import type { QueuedCall } from "../store/fetch-stream.js";
import { Lane } from "./lane.js";
import type { LaneKind, LaneParts } from "./lane-parts.js";

/** The ordering keys of a stream whose calls are being run. */
export class Lanes {
  readonly #parts: LaneParts;
  readonly #lanes = new Map<string, Lane>();
  readonly #few = new Few();

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
    this.#few.fall(isFailure ? 0 : this.#lanes.size);
  }

  /** One waiter at a time: a race over the lanes' promises would leave a handler on each of them at every poll. */
  untilAtMost(most: number): Promise<void> {
    return this.#few.reach(most, this.#lanes.size);
  }
}
