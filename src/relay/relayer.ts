import type { DueStream } from "../store/due-streams.js";
import type { Store } from "../store/store.js";
import type { Logger, Relayer } from "../types.js";
import { Pass } from "../run/pass.js";
import type { Keeping } from "../strategies/quiet-time.js";
import { keyOf } from "./messages.js";
import { QuietStreams } from "./quiet-streams.js";
import { type RelayParts, relayStream } from "./relay.js";
import { WakeUp } from "./wake-up.js";

export interface LoopOptions extends Omit<RelayParts, "store"> {
  store: Pick<Store, "checkSchema" | "readClock" | "dueStreams" | "dueAmong">;
  stream?: string;
  intervalMs: number;
  logger: Logger;
  onError?: (error: unknown) => void | Promise<void>;
  /** Nothing tells of what other processes commit: after a stream was served it looks again sooner. (Default: no) */
  looksSooner?: () => boolean;
  /** It is told of whatever is committed anywhere: a stream is worth keeping for a while when it has nothing left. (Default: no) */
  isTold?: () => boolean;
}

const LONGEST_PAUSE_MS = 30_000;
/** How long a stream that always has something to do is served while others wait for their turn. */
const TURN_MS = 1000;

/** How much sooner, at first: each look that finds nothing doubles it, up to the interval. */
const SOONER = 20;
/** Where more streams are named, all are looked at. */
const MOST_NAMED = 4;
/** A woken look may find that another process is serving the stream. One after the other, they come ever later, up to this. */
const LONGEST_FRUITLESS_MS = 64;

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
  /** Of that, what has nothing to do, and takes no room. */
  readonly #quiet: QuietStreams;
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
  /** Until the next look, where nothing wakes it. */
  #idleMs: number;
  #isWoken = false;
  /** The keep-order streams to look at, where nothing else calls for a look. */
  readonly #named = new Set<string>();
  /** A look at all streams is called for, at the latest after an interval. */
  #looksAtAll = true;
  #lookedAt = -Infinity;
  #lookedAtAllAt = -Infinity;
  /** Woken looks in a row that found nothing to serve. */
  #fruitless = 0;
  #later: { at: number; timer: NodeJS.Timeout } | undefined;

  constructor(options: LoopOptions) {
    this.#options = options;
    this.#idleMs = options.intervalMs;
    this.#quiet = new QuietStreams(options.concurrency);
    this.#looping = this.#loop();
  }

  /** These streams, or any, may have something new. */
  wake(streams?: readonly DueStream[]): void {
    const { stream } = this.#options;
    const ours = streams?.filter((one) => stream === undefined || one.stream === stream);
    const isServed = (key: string) => this.#active.has(key) && this.#wokenMeanwhile.add(key);
    const others = ours?.filter((one) => !isServed(keyOf(one)));
    if (others?.length === 0) return;
    if (!others) for (const key of this.#active.keys()) this.#wokenMeanwhile.add(key);
    if (others) for (const one of others) this.#name(one);
    else this.#looksAtAll = true;
    const waitMs = this.#fruitless === 0 ? 0 : Math.min(2 ** this.#fruitless, LONGEST_FRUITLESS_MS);
    this.#isWoken = true;
    this.#lookIn(this.#lookedAt + waitMs - performance.now());
  }

  #name({ stream, strategy }: DueStream): void {
    if (strategy === "keep-order") this.#named.add(stream);
    else this.#looksAtAll = true;
  }

  #lookIn(ms: number): void {
    const at = performance.now() + ms;
    if (ms <= 0) this.#wakeUp.ring();
    else if (!this.#isStopped && at < (this.#later?.at ?? Infinity)) {
      clearTimeout(this.#later?.timer);
      this.#later = { at, timer: setTimeout(() => this.#wakeUp.ring(), ms) };
    }
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const { pass } of this.#active.values()) pass.stop();
    for (const pass of this.#settling.values()) pass.stop();
    this.#quiet.endAll();
    this.#wakeUp.ring();
    await this.#looping;
    clearTimeout(this.#later?.timer);
    await Promise.all([...this.#active.values()].map(({ ended }) => ended));
    await Promise.all(this.#settling.keys());
  }

  async #loop(): Promise<void> {
    while (!this.#isStopped) {
      const isWoken = this.#beginLook();
      const isFound = await this.#look();
      this.#fruitless = isWoken && !isFound ? this.#fruitless + 1 : 0;
      this.#idleMs = Math.min(2 * this.#idleMs, this.#options.intervalMs);
      const pauseMs = this.#failures > 0 ? this.#pauseMs(this.#failures) : this.#idleMs;
      if (!this.#isStopped) await this.#wakeUp.sleep(this.#hasMore ? Math.min(pauseMs, TURN_MS) : pauseMs);
    }
  }

  /** @returns whether something told it to look */
  #beginLook(): boolean {
    clearTimeout(this.#later?.timer);
    this.#later = undefined;
    this.#lookedAt = performance.now();
    const isWoken = this.#isWoken;
    this.#isWoken = false;
    return isWoken;
  }

  get #soonMs(): number {
    const { intervalMs, looksSooner } = this.#options;
    return looksSooner?.() ? intervalMs / SOONER : intervalMs;
  }

  #pauseMs(failures: number): number {
    const { intervalMs } = this.#options;
    return Math.max(intervalMs, Math.min(intervalMs * 2 ** failures, LONGEST_PAUSE_MS));
  }

  /** @returns whether there was something that nobody served */
  async #look(): Promise<boolean> {
    const { store, concurrency } = this.#options;
    try {
      await store.checkSchema();
      const waiting = inTurn(await this.#findDue(), this.#lastBegun).filter((one) => !this.#isTaken(keyOf(one)));
      const room = Math.max(0, concurrency - (this.#active.size - this.#quiet.count));
      this.#hasMore = waiting.length > room;
      if (!this.#isStopped) for (const one of waiting.slice(0, room)) this.#serve(one);
      if (this.#hasMore) this.#makeRoom(waiting.length - room);
      this.#failures = 0;
      return waiting.length > 0;
    } catch (error) {
      this.#looksAtAll = true;
      this.#failures += 1;
      this.#tell(error, "a relayer could not look for due calls", this.#failures);
      return false;
    }
  }

  async #findDue(): Promise<DueStream[]> {
    const { store, stream, intervalMs } = this.#options;
    const named = [...this.#named];
    this.#named.clear();
    const isLongAgo = this.#lookedAt - this.#lookedAtAllAt >= intervalMs;
    const isNamed = named.length > 0 && named.length <= MOST_NAMED;
    if (isNamed && !this.#looksAtAll && !this.#hasMore && !isLongAgo) return store.dueAmong(named);
    this.#looksAtAll = false;
    this.#hasMore = false;
    this.#lookedAtAllAt = this.#lookedAt;
    return (await store.dueStreams()).filter((one) => stream === undefined || one.stream === stream);
  }

  #isTaken(key: string): boolean {
    return this.#active.has(key) || performance.now() < (this.#resting.get(key)?.until ?? 0);
  }

  /** Those that have had their turn give way; quiet ones take no room. */
  #makeRoom(wanted: number): void {
    const before = performance.now() - TURN_MS;
    const done = [...this.#active]
      .filter(([key, { since }]) => since <= before && !this.#quiet.has(key))
      .map(([, serving]) => serving)
      .sort((a, b) => a.since - b.since);
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
        const isWoken = this.#wokenMeanwhile.delete(key);
        if (isWoken) this.#name(due);
        if (isWoken || this.#hasMore) this.#wakeUp.ring();
        else this.#lookSoon();
      });
    this.#active.set(key, { pass, since: performance.now(), ended });
    this.#lastBegun = key;
  }

  /** Where there was something there may soon be more. */
  #lookSoon(): void {
    const ms = this.#soonMs;
    if (ms >= this.#options.intervalMs || this.#failures > 0) return;
    this.#idleMs = ms;
    this.#lookIn(ms);
  }

  async #relay(due: DueStream, key: string, pass: Pass): Promise<void> {
    try {
      const stepsBack = await relayStream(this.#options, due, pass, this.#keeping(key));
      if (stepsBack) this.#rest(key, 0);
      else this.#resting.delete(key);
    } finally {
      const settling = pass.settled().finally(() => this.#settling.delete(settling));
      this.#settling.set(settling, pass);
    }
  }

  #keeping(key: string): Keeping {
    return {
      isWorthwhile: () => !this.#isStopped && !this.#hasMore && this.#options.isTold?.() === true,
      began: (end) => this.#quiet.add(key, end),
      ended: () => {
        this.#quiet.delete(key);
        const serving = this.#active.get(key);
        if (serving) serving.since = performance.now();
      },
    };
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

/** From the one after the last begun on: a stream that always has something to do keeps no other waiting. */
function inTurn(due: DueStream[], lastBegun: string): DueStream[] {
  const sorted = due.sort((one, other) => (keyOf(one) < keyOf(other) ? -1 : 1));
  const next = sorted.findIndex((one) => keyOf(one) > lastBegun);
  return next === -1 ? sorted : [...sorted.slice(next), ...sorted.slice(0, next)];
}
