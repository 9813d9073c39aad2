import type { Pass } from "../run/pass.js";
import { Tally } from "../run/tally.js";
import type { Keeping } from "./quiet-time.js";
import { StreamServer, type StreamServerOptions } from "./stream-server.js";

/**
 * Serves a stream's keep-order calls: from the head, the calls of one ordering key one at a time, the keys beside each other.
 * A key whose head cannot go on (failed, not due, unroutable) is set aside: its calls leave the line that passes read, so
 * that they cost the others nothing however many they are, and come back by the key.
 */
export class KeepOrder {
  readonly #options: StreamServerOptions;
  readonly #serving = new Map<StreamServer, string>();
  /** Of them, those that are not quiet. */
  readonly #busy = new Tally();

  constructor(options: StreamServerOptions) {
    this.#options = options;
  }

  /**
   * Serves a stream until it has nothing left for this pass; does nothing while another holds its lease.
   *
   * @param keeping of who would have it kept for a while after that (Default: it is given back at once)
   * @returns whether it met a call that it could not route, and left the stream to others for that
   */
  async relay(stream: string, pass: Pass, keeping?: Keeping): Promise<boolean> {
    const askedAt = performance.now();
    const lease = await this.#options.store.acquireStream(stream);
    if (!lease) return false;
    const server = new StreamServer(this.#options, lease, askedAt, pass, keeping && this.#watched(keeping));
    this.#serving.set(server, stream);
    this.#busy.begin();
    try {
      await server.serve();
    } finally {
      this.#busy.end();
      this.#serving.delete(server);
    }
    return server.metUnroutable;
  }

  /** These streams, or all, look at once for what was committed, or changed by a person, where they are being served. */
  wake(streams?: ReadonlySet<string>): void {
    for (const [server, stream] of this.#serving) if (streams?.has(stream) ?? true) server.wake();
  }

  /** What is being served, and not quiet. */
  get running(): Promise<unknown>[] {
    return this.#busy.count > 0 ? [this.#busy.fallsTo(0)] : [];
  }

  #watched(keeping: Keeping): Keeping {
    return {
      isWorthwhile: () => keeping.isWorthwhile(),
      began: (end) => {
        this.#busy.end();
        keeping.began(end);
      },
      ended: () => {
        this.#busy.begin();
        keeping.ended();
      },
    };
  }
}
