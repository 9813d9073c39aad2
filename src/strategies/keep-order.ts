import type { Pass } from "../run/pass.js";
import { StreamServer, type StreamServerOptions } from "./stream-server.js";

/**
 * Serves a stream's keep-order calls: from the head, the calls of one ordering key one at a time, the keys beside each other.
 * A key whose head cannot go on (failed, not due, unroutable) is set aside: its calls leave the line that passes read, so
 * that they cost the others nothing however many they are, and come back by the key.
 */
export class KeepOrder {
  readonly #options: StreamServerOptions;
  readonly #serving = new Map<StreamServer, { stream: string; ended: Promise<void> }>();

  constructor(options: StreamServerOptions) {
    this.#options = options;
  }

  /**
   * Serves a stream until it has nothing left for this pass; does nothing while another holds its lease.
   *
   * @returns whether it met a call that it could not route, and left the stream to others for that
   */
  async relay(stream: string, pass: Pass): Promise<boolean> {
    const askedAt = performance.now();
    const lease = await this.#options.store.acquireStream(stream);
    if (!lease) return false;
    const server = new StreamServer(this.#options, lease, askedAt, pass);
    const ended = server.serve().finally(() => this.#serving.delete(server));
    this.#serving.set(server, { stream, ended });
    await ended;
    return server.metUnroutable;
  }

  /** These streams, or all, look at once for what was committed, or changed by a person, where they are being served. */
  wake(streams?: ReadonlySet<string>): void {
    for (const [server, { stream }] of this.#serving) if (streams?.has(stream) ?? true) server.wake();
  }

  /** What is being served. */
  get running(): Iterable<Promise<unknown>> {
    return Array.from(this.#serving.values(), ({ ended }) => ended);
  }
}
