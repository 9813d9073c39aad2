import type { DueStream } from "../store/due-streams.js";
import type { Logger, Relayer } from "../types.js";
import { Pass } from "../run/pass.js";
import { type RelayParts, relayStream } from "./relay.js";
import { WakeUp } from "./wake-up.js";

export interface LoopOptions extends RelayParts {
  stream?: string;
  intervalMs: number;
  logger: Logger;
  onError?: (error: unknown) => void | Promise<void>;
}

const LONGEST_PAUSE_MS = 30_000;
/** How long a stream that always has something to do is served while others wait for their turn. */
const TURN_MS = 1000;

interface Serving {
  pass: Pass;
  since: number;
  ended: Promise<void>;
}

/** Looks for due calls again and again, and serves each stream that has some until it has none. */
export class RelayLoop implements Relayer {
  readonly #options: LoopOptions;
  readonly #wakeUp = new WakeUp();
  /** What is being served. */
  readonly #active = new Map<string, Serving>();
  /** Runs of streams that have been served, with the passes that they belong to: suspects may still wait for their turn. */
  readonly #settling = new Map<Promise<void>, Pass>();
  /**
   * Until when a stream is left alone. One that met a call it could not route somebody else shall have for an interval; one
   * that could not be served is tried again ever later.
   */
  readonly #resting = new Map<string, { until: number; failures: number }>();
  /** Streams that were being served, and perhaps about to end, when a commit woke this process. */
  readonly #wokenMeanwhile = new Set<string>();
  readonly #looping: Promise<void>;
  #isStopped = false;
  #failures = 0;
  /** More streams were due than are served at once: the next one begins as soon as one has ended. */
  #hasMore = false;
  #lastBegun = "";

  constructor(options: LoopOptions) {
    this.#options = options;
    this.#looping = this.#loop();
  }

  wake(): void {
    for (const key of this.#active.keys()) this.#wokenMeanwhile.add(key);
    this.#wakeUp.ring();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const { pass } of this.#active.values()) pass.stop();
    for (const pass of this.#settling.values()) pass.stop();
    this.#wakeUp.ring();
    await this.#looping;
    await Promise.all([...this.#active.values()].map(({ ended }) => ended));
    await Promise.all(this.#settling.keys());
  }

  async #loop(): Promise<void> {
    while (!this.#isStopped) {
      await this.#look();
      const pauseMs = this.#pauseMs(this.#failures);
      if (!this.#isStopped) await this.#wakeUp.sleep(this.#hasMore ? Math.min(pauseMs, TURN_MS) : pauseMs);
    }
  }

  #pauseMs(failures: number): number {
    const { intervalMs } = this.#options;
    return Math.max(intervalMs, Math.min(intervalMs * 2 ** failures, LONGEST_PAUSE_MS));
  }

  async #look(): Promise<void> {
    const { store, stream, concurrency } = this.#options;
    this.#hasMore = false;
    try {
      await store.checkSchema();
      const due = (await store.dueStreams()).filter((one) => stream === undefined || one.stream === stream);
      const waiting = inTurn(due, this.#lastBegun).filter((one) => !this.#isTaken(keyOf(one)));
      const room = concurrency - this.#active.size;
      this.#hasMore = waiting.length > room;
      if (!this.#isStopped) for (const one of waiting.slice(0, room)) this.#serve(one);
      if (this.#hasMore) this.#makeRoom(waiting.length - room);
      this.#failures = 0;
    } catch (error) {
      this.#failures += 1;
      this.#tell(error, "a relayer could not look for due calls", this.#failures);
    }
  }

  #isTaken(key: string): boolean {
    return this.#active.has(key) || performance.now() < (this.#resting.get(key)?.until ?? 0);
  }

  /** Those that have had their turn give way. */
  #makeRoom(wanted: number): void {
    const before = performance.now() - TURN_MS;
    const done = [...this.#active.values()].filter(({ since }) => since <= before).sort((a, b) => a.since - b.since);
    for (const serving of done.slice(0, wanted)) {
      serving.pass.giveWay();
      // One that has to stay is not asked again before the others were.
      serving.since = performance.now();
    }
  }

  #serve(due: DueStream): void {
    const key = keyOf(due);
    const pass = new Pass({});
    const ended = this.#relay(due, key, pass)
      .catch((error: unknown) => this.#failAt(due, key, error))
      .finally(() => {
        this.#active.delete(key);
        if (this.#wokenMeanwhile.delete(key) || this.#hasMore) this.#wakeUp.ring();
      });
    this.#active.set(key, { pass, since: performance.now(), ended });
    this.#lastBegun = key;
  }

  async #relay(due: DueStream, key: string, pass: Pass): Promise<void> {
    try {
      const stepsBack = await relayStream(this.#options, due, pass);
      if (stepsBack) this.#rest(key, 0);
      else this.#resting.delete(key);
    } finally {
      const settling = pass.settled().finally(() => this.#settling.delete(settling));
      this.#settling.set(settling, pass);
    }
  }

  #failAt(due: DueStream, key: string, error: unknown): void {
    const failures = (this.#resting.get(key)?.failures ?? 0) + 1;
    this.#rest(key, failures);
    this.#tell(error, `a relayer could not serve the stream "${due.stream}"`, failures);
  }

  #rest(key: string, failures: number): void {
    this.#resting.set(key, { until: performance.now() + this.#pauseMs(failures), failures });
  }

  #tell(error: unknown, message: string, failures: number): void {
    const { logger, onError } = this.#options;
    logger.error({ err: error }, `${message}; it tries again in ${this.#pauseMs(failures)} ms`);
    void (async () => {
      await onError?.(error);
    })().catch((fault: unknown) => {
      logger.error({ err: fault }, "the onError of a relayer failed");
    });
  }
}

function keyOf({ strategy, stream }: DueStream): string {
  return `${strategy} ${stream}`;
}

/** From the one after the last begun on: a stream that always has something to do keeps no other waiting. */
function inTurn(due: DueStream[], lastBegun: string): DueStream[] {
  const sorted = due.sort((one, other) => (keyOf(one) < keyOf(other) ? -1 : 1));
  const next = sorted.findIndex((one) => keyOf(one) > lastBegun);
  return next === -1 ? sorted : [...sorted.slice(next), ...sorted.slice(0, next)];
}
