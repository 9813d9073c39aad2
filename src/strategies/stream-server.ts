import type { Pass } from "../run/pass.js";
import { Group } from "../run/group.js";
import type { StreamLease, StreamSettlement } from "../store/serve-stream.js";
import { stubbornly } from "../run/stubbornly.js";
import type { QueuedCall } from "../store/fetch-stream.js";
import { Lane } from "./lane.js";
import type { StrategyParts } from "./parts.js";
import { StreamLeaseKeeper } from "./stream-lease.js";
import { type KeySettlement, StreamSettler } from "./stream-settler.js";

export interface StreamServerOptions extends StrategyParts {
  concurrency: number;
  pollIntervalMs: number;
}

/** Calls that a fetch reads at most; their payloads together stay below 4 MiB. */
const LINE_LENGTH = 256;
const MOST_DUE_KEYS = 256;

/** One holder of one stream's lease. */
export class StreamServer {
  readonly #options: StreamServerOptions;
  readonly #lease: StreamLease;
  readonly #pass: Pass;
  readonly #keeper: StreamLeaseKeeper;
  readonly #settler: StreamSettler;
  readonly #outcomes: Group<KeySettlement, boolean>;
  /** By ordering key, as hex: the keys whose calls are being run. */
  readonly #lanes = new Map<string, Lane>();
  /** Reading and settling take turns: what a read found is still true when it is acted upon. */
  #turn: Promise<unknown> = Promise.resolve();
  #wake: () => void = () => undefined;
  #onLaneEnded: () => void = () => undefined;
  #failure: { error: unknown } | undefined;
  /** How many more runs may be of a call that ended the process which served the stream before: of keys in line, and aside. */
  readonly #suspects: { line: number; aside: number };
  #isServed = false;
  #isPaused = false;
  /** The moment, on the database's clock, after which nothing counts as due; undefined while there is no end in sight. */
  #dueByMs: number | undefined;
  metUnroutable = false;

  constructor(options: StreamServerOptions, lease: StreamLease, askedAt: number, pass: Pass) {
    this.#options = options;
    this.#lease = lease;
    this.#pass = pass;
    this.#dueByMs = pass.dueByMs;
    // What that process ran, and what had run in it and was not settled, stands in front.
    const suspects = lease.isTakenOver ? 2 * options.concurrency : 0;
    this.#suspects = { line: suspects, aside: suspects };
    this.#keeper = new StreamLeaseKeeper({ ...options, lease, askedAt, onLost: () => this.wake() });
    this.#settler = new StreamSettler(options, lease, this.#keeper);
    this.#outcomes = new Group((outcomes) => this.#inTurn(() => this.#settler.settle(outcomes)));
  }

  wake(): void {
    this.#wake();
  }

  async serve(): Promise<void> {
    try {
      await this.#serveLine();
    } finally {
      await this.#untilLanesEnd();
      this.#keeper.stop();
      await this.#release();
    }
    if (this.#failure) throw this.#failure.error;
  }

  /** A lease that is left behind, because the database was away for a moment, would keep the stream waiting for its end. */
  async #release(): Promise<void> {
    const { store, leaseMs, logger } = this.#options;
    if (this.#keeper.isLost) return;
    const isSuspicious = !this.#isServed && (this.#suspects.line > 0 || this.#suspects.aside > 0);
    try {
      await stubbornly(() => store.releaseStream(this.#lease, isSuspicious), this.#failure ? 0 : leaseMs);
    } catch (error) {
      logger.warn(
        { err: error, stream: this.#lease.stream },
        "a stream's lease could not be released; it will end by itself",
      );
    }
  }

  async #serveLine(): Promise<void> {
    const { pollIntervalMs } = this.#options;
    let changedAt = performance.now();
    let isStuck = false;
    while (this.#goesOn || (await this.#isKeptBySlowRuns())) {
      const woken = new Promise<void>((resolve) => (this.#wake = resolve));
      this.#stayWithSlowRuns();
      const found = await this.#inTurn(() => this.#fetch(isStuck));
      if (this.#lanes.size === 0 && !found.isChanged) {
        this.#isServed = this.#goesOn && !this.#isPaused;
        return;
      }
      if (found.isChanged) changedAt = performance.now();
      const isPolled = await this.#untilWorthLooking(found, woken);
      isStuck = isPolled || performance.now() - changedAt >= pollIntervalMs;
    }
  }

  get #goesOn(): boolean {
    return !this.#pass.isOver && !this.#keeper.isLost && !this.#failure;
  }

  /**
   * A relayer that met a call it cannot route serves what was there by then, and leaves the stream to others for a while. A
   * slow run keeps it from leaving: the other keys do not wait for that, and the stream is left when one is met again.
   */
  #stayWithSlowRuns(): void {
    if (this.#pass.dueByMs !== undefined || this.#dueByMs === undefined) return;
    const isSlow = [...this.#lanes.values()].some((lane) => lane.hasRunFor(this.#options.pollIntervalMs));
    if (isSlow) this.#dueByMs = undefined;
  }

  /** A stream that shall give way, and cannot for a slow run, makes no room by letting its other keys wait for that run. */
  async #isKeptBySlowRuns(): Promise<boolean> {
    if (this.#lanes.size > 0) await this.#untilWorthLooking(NOTHING);
    return this.#lanes.size > 0 && !this.#keeper.isLost && !this.#failure && this.#pass.stay();
  }

  /**
   * Waits while lanes run: until there is room for more of a full line, or else until all have ended; a call that
   * comes meanwhile is seen by a wake-up or at the next poll, so that a slow lane keeps no other key waiting.
   *
   * @returns whether nothing of this happened within a poll's time
   */
  async #untilWorthLooking({ isFull, isCleared }: Found, woken?: Promise<void>): Promise<boolean> {
    const { concurrency, pollIntervalMs, leaseMs } = this.#options;
    // Who changed something waits for as long as a few leases.
    const pauseMs = Math.min(pollIntervalMs, leaseMs / 2);
    if (this.#lanes.size === 0 || (isCleared && this.#hasRoom)) return false;
    const enough = isFull || !this.#hasRoom ? Math.min(concurrency, this.#lanes.size) - 1 : 0;
    let timer: NodeJS.Timeout | undefined;
    let isOver = false;
    const polled = new Promise<true>((resolve) => (timer = setTimeout(resolve, pauseMs, true)));
    // Without room a look could start nothing, whatever was committed; a poll sees what a person has changed.
    const earlier = woken && this.#hasRoom ? [woken, polled] : [polled];
    const isPolled = await Promise.race([this.#untilLanes(enough, () => isOver), ...earlier]);
    isOver = true;
    this.#onLaneEnded();
    clearTimeout(timer);
    return isPolled === true;
  }

  /** Lanes beyond those that run wait for a slot, with their calls in memory: there is a limit to how many help. */
  get #hasRoom(): boolean {
    return this.#lanes.size < 2 * this.#options.concurrency;
  }

  /** Begins nothing more, and still sees what a person changes. */
  async #untilLanesEnd(): Promise<void> {
    while (this.#lanes.size > 0) {
      await this.#untilWorthLooking(NOTHING);
      if (this.#lanes.size === 0 || this.#keeper.isLost) continue;
      try {
        await this.#inTurn(() => this.#seeChanges());
      } catch (error) {
        this.#options.logger.warn({ err: error, stream: this.#lease.stream }, "a stream's changes could not be read");
      }
    }
  }

  /** One waiter at a time: a race over the lanes' promises would leave a handler on each of them at every poll. */
  async #untilLanes(most: number, isAbandoned = () => false): Promise<void> {
    while (this.#lanes.size > most && !isAbandoned()) {
      await new Promise<void>((resolve) => (this.#onLaneEnded = resolve));
    }
  }

  #endLane(hex: string): void {
    this.#lanes.delete(hex);
    this.#onLaneEnded();
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  /** @param isStuck the line was full before, of calls whose keys are being run, and still may be */
  async #fetch(isStuck: boolean): Promise<Found> {
    const lanesBefore = this.#lanes.size;
    if (this.#goesOn) await this.#seeChanges();
    if (!this.#goesOn || this.#isPaused || !this.#hasRoom) return { isFull: true, isCleared: false, isChanged: false };
    await this.#fetchDueKeys();
    const { calls, aside } = await this.#options.store.fetchLine(this.#lease, LINE_LENGTH);
    if (aside.length > 0) await this.#settler.settleUnrun([{ kind: "set-aside", seqs: aside.map(({ seq }) => seq) }]);
    this.#startLanes(this.#partOfPass(calls));
    const isFull = calls.length + aside.length >= LINE_LENGTH;
    const isStarted = this.#lanes.size > lanesBefore;
    const madeRoom = isFull && isStuck && !isStarted && aside.length === 0 && (await this.#makeRoom());
    // Behind what was set aside in a line that is not full nothing is left: a pass ends although such calls keep coming.
    const isCleared = madeRoom || (isFull && aside.length > 0);
    return { isFull, isCleared, isChanged: isStarted || isCleared };
  }

  /** What a person has changed makes what was read ahead untrue: it is dropped, and the person told what cannot be. */
  async #seeChanges(): Promise<void> {
    const { store } = this.#options;
    const changes = await store.readChanges(this.#lease);
    this.#isPaused = changes?.isPaused === true;
    if (!changes) this.#keeper.lose();
    if (!changes?.isNew) return;
    const inFlight = [...this.#lanes.values()].flatMap((lane) => [...lane.drop()]);
    await store.confirmChanges(this.#lease, changes.epoch, inFlight);
  }

  async #fetchDueKeys(): Promise<void> {
    const running = [...this.#lanes].flatMap(([hex, lane]) => (lane.isAside ? [Buffer.from(hex, "hex")] : []));
    const due = await this.#options.store.fetchDueKeys(this.#lease, MOST_DUE_KEYS, this.#dueByMs, running);
    for (const { key, head } of due) {
      if (this.#lanes.has(key.toString("hex")) || (head && this.#partOfPass([head]).length === 0)) continue;
      if (head) this.#start(key, [head], true);
      else await this.#settler.settleUnrun([{ kind: "release", key }]);
    }
  }

  /** What came after the moment by which calls are due is the next pass's, with all that follows of its key. */
  #partOfPass(calls: QueuedCall[]): QueuedCall[] {
    const dueByMs = this.#dueByMs;
    if (dueByMs === undefined) return calls;
    const ended = new Set<string>();
    return calls.filter((call) => {
      const hex = call.orderingKey.toString("hex");
      if (call.createdAtMs > dueByMs) ended.add(hex);
      return !ended.has(hex);
    });
  }

  #startLanes(calls: QueuedCall[]): void {
    const byKey = new Map<string, QueuedCall[]>();
    for (const call of calls) {
      const hex = call.orderingKey.toString("hex");
      const queue = byKey.get(hex);
      if (queue) queue.push(call);
      else if (!this.#lanes.has(hex)) byKey.set(hex, [call]);
    }
    for (const queue of byKey.values()) this.#start((queue[0] as QueuedCall).orderingKey, queue, false);
  }

  /** The line is full of calls whose keys are being run: they step aside, so that those behind them are seen. */
  async #makeRoom(): Promise<boolean> {
    const keys = [...this.#lanes.keys()].map((hex) => Buffer.from(hex, "hex"));
    if (!(await this.#options.store.hasOtherKeys(this.#lease, keys))) return false;
    const settlements: StreamSettlement[] = [];
    for (const lane of this.#lanes.values()) {
      const aside = lane.stepAside();
      if (!aside) continue;
      settlements.push({ kind: "hold", state: "busy", due: { inMs: 0 }, head: aside.head });
      // After a crash the key begins with the first call whose settling was not seen.
      if (aside.unsettled.length > 0) settlements.push({ kind: "set-aside", seqs: aside.unsettled });
    }
    if (settlements.length > 0) await this.#settler.settleUnrun(settlements);
    return settlements.length > 0;
  }

  #start(key: Buffer, calls: QueuedCall[], isAside: boolean): void {
    const hex = key.toString("hex");
    const kind = isAside ? "aside" : "line";
    const lane = new Lane({
      ...this.#options,
      key,
      calls,
      isAside,
      isSuspect: () => this.#suspects[kind] > 0,
      takeSuspicion: () => (this.#suspects[kind] -= 1),
      lease: this.#lease,
      pass: this.#pass,
      keeper: this.#keeper,
      partOfPass: (more) => this.#partOfPass(more),
      settle: (settlement) => this.#outcomes.add({ key: hex, settlement }),
      onUnroutable: ({ clockOffsetMs }) => {
        this.metUnroutable = true;
        this.#dueByMs ??= Date.now() + clockOffsetMs;
      },
    });
    this.#lanes.set(hex, lane);
    lane.run().then(
      () => this.#endLane(hex),
      (error: unknown) => {
        this.#failure ??= { error };
        this.#endLane(hex);
      },
    );
  }
}

const NOTHING: Found = { isFull: false, isCleared: false, isChanged: false };

/** What a look at the line brought. */
interface Found {
  /** There may be more behind what was read. */
  isFull: boolean;
  /** What stood in front of it has left the line: look again at once. */
  isCleared: boolean;
  isChanged: boolean;
}
