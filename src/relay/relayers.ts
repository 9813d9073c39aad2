import type { DueStream } from "../store/due-streams.js";
import type { Store } from "../store/store.js";
import type { Logger, Relayer } from "../types.js";
import { Listener } from "./listener.js";
import { EVERYTHING, keyOf, Messages } from "./messages.js";
import { Notifier } from "./notifier.js";
import type { RelayParts } from "./relay.js";
import { type LoopOptions, RelayLoop } from "./relayer.js";

export interface RelayersParts extends Omit<RelayParts, "store"> {
  store: Store;
  logger: Logger;
  /** Whether processes tell each other of what they commit, where the database can do that. */
  notifies: boolean;
}

/** The relayers of this process, and what wakes them and those of others. */
export class Relayers {
  readonly #parts: RelayersParts;
  readonly #loops = new Set<RelayLoop>();
  readonly #messages = new Messages();
  readonly #notifier: Notifier | undefined;
  #listener: Listener | undefined;
  /** Those of before have closed their connections. */
  #deafened: Promise<unknown> = Promise.resolve();

  constructor(parts: RelayersParts) {
    this.#parts = parts;
    if (parts.notifies && parts.store.canNotify) this.#notifier = new Notifier(parts);
  }

  start(options: Pick<LoopOptions, "stream" | "intervalMs" | "onError">): Relayer {
    const { notifies, store, logger } = this.#parts;
    if (notifies && store.canListen) {
      this.#listener ??= new Listener({
        store,
        logger,
        onMessage: (message) => this.#hear(message),
        onHearing: () => this.wake(),
      });
    }
    const isTold = () => this.#listener?.isHearing === true;
    const looksSooner = () => notifies && !isTold();
    const loop = new RelayLoop({ ...this.#parts, ...options, looksSooner, isTold });
    this.#loops.add(loop);
    return { stop: () => this.#stop(loop) };
  }

  /** The relayers of this process look at these streams, or at all. */
  wake(streams?: readonly DueStream[]): void {
    const ordered = streams?.filter(({ strategy }) => strategy === "keep-order").map(({ stream }) => stream);
    this.#parts.keepOrder.wake(ordered && new Set(ordered));
    for (const loop of this.#loops) loop.wake(streams);
  }

  /** They look at all, and those of other processes do: a person has changed something. */
  wakeAll(): void {
    this.wake();
    this.#notifier?.tell([EVERYTHING]);
  }

  /** Those of other processes do. */
  tellOthers(streams: readonly DueStream[]): void {
    this.#notifier?.tell(streams.map((stream) => this.#messages.hasNew(stream)));
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#loops].map((loop) => this.#stop(loop)));
  }

  /** Tells others what is still to be told, and nothing more. */
  async close(): Promise<void> {
    await this.#notifier?.close();
  }

  async #stop(loop: RelayLoop): Promise<void> {
    await loop.stop();
    this.#loops.delete(loop);
    if (this.#loops.size > 0) return;
    // One that is started meanwhile listens anew.
    const listener = this.#listener;
    this.#listener = undefined;
    this.#deafened = Promise.all([this.#deafened, listener?.stop()]);
    await this.#deafened;
  }

  #hear(message: string): void {
    const about = this.#messages.read(message);
    if (about === EVERYTHING) this.wake();
    else if (about) this.wake([about]);
  }
}

/** The streams of these calls. */
export function streamsOf(calls: readonly DueStream[]): DueStream[] {
  return [
    ...new Map(calls.map(({ stream, strategy }) => [keyOf({ stream, strategy }), { stream, strategy }])).values(),
  ];
}
