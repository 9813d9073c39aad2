import type { Pass } from "../run/pass.js";
import type { StreamLease, StreamSettlement } from "../store/serve-stream.js";
import { stubbornly } from "../run/stubbornly.js";
import type { QueuedCall } from "../store/fetch-stream.js";
import type { Lane } from "./lane.js";
import type { LaneParts } from "./lane-parts.js";
import { LaneSettlements } from "./lane-settlements.js";
import { Lanes } from "./lanes.js";
import { nameOf } from "../store/key-name.js";
import { LineCursor } from "./line-cursor.js";
import { LineFloor } from "./line-floor.js";
import { partOfPass } from "./part-of-pass.js";
import type { StrategyParts } from "./parts.js";
import { type Keeping, QuietTime } from "./quiet-time.js";
import { StreamLeaseKeeper } from "./stream-lease.js";
import { StreamSettler } from "./stream-settler.js";

export interface StreamServerOptions extends StrategyParts {
  concurrency: number;
  pollIntervalMs: number;
}

/** Calls that a fetch reads at most; their payloads together stay below 4 MiB. */
const LINE_LENGTH = 500;
/** Of the line, in memory at once: those of one fetch wait, of another run, of a third are settled, while the next is on its way. */
const MOST_KNOWN = 3 * LINE_LENGTH;
const MOST_DUE_KEYS = 256;

/** One holder of one stream's lease. */
export class StreamServer {
  readonly #options: StreamServerOptions;
  readonly #lease: StreamLease;
  readonly #pass: Pass;
  readonly #keeper: StreamLeaseKeeper;
  readonly #settler: StreamSettler;
  readonly #settlements: LaneSettlements;
  readonly #lanes: Lanes;
  readonly #quietTime: QuietTime;
  readonly #cursor = new LineCursor();
  readonly #floor: LineFloor;
  /** Reading from the head and settling take turns: what a read found is still true when it is acted upon. */
  #turn: Promise<unknown> = Promise.resolve();
  #wake: () => void = () => undefined;
  #failure: { error: unknown } | undefined;
  /** How many more runs may be of a call that ended the process which served the stream before: of keys in line, and aside. */
  readonly #suspects: { line: number; aside: number };
  /** Since the last time that it was quiet there was more to see to than the line. */
  #looksClosely = false;
  #isServed = false;
  #isPaused = false;
  /** The moment, on the database's clock, after which nothing counts as due; undefined while there is no end in sight. */
  #dueByMs: number | undefined;
  metUnroutable = false;

  constructor(options: StreamServerOptions, lease: StreamLease, askedAt: number, pass: Pass, keeping?: Keeping) {
    this.#options = options;
    this.#lease = lease;
    this.#pass = pass;
    this.#dueByMs = pass.dueByMs;
    // What that process ran, and what had run in it and was not settled, stands in front.
    const suspects = lease.isTakenOver ? 2 * options.concurrency : 0;
    this.#suspects = { line: suspects, aside: suspects };
    this.#keeper = new StreamLeaseKeeper({ ...options, lease, askedAt, onLost: () => this.wake() });
    this.#quietTime = new QuietTime({ ...options, lease, keeper: this.#keeper, keeping });
    this.#floor = new LineFloor(options.store);
    this.#settler = new StreamSettler(options, lease, this.#keeper);
    this.#settlements = new LaneSettlements(this.#settler, this.#cursor, (work) => this.#inTurn(work));
    this.#lanes = new Lanes(this.#partsOfLanes());
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
        if (await this.#isCalledAgain(woken)) continue;
        return;
      }
      const hasReadOn = found.isFull && (await this.#readOn());
      if (found.isChanged || hasReadOn) changedAt = performance.now();
      const isPolled = await this.#untilWorthLooking(found, woken);
      isStuck = isPolled || performance.now() - changedAt >= pollIntervalMs;
    }
  }

  /** @returns whether a stream that was kept although it had nothing left has something again */
  async #isCalledAgain(woken: Promise<void>): Promise<boolean> {
    if (!this.#isServed || this.#dueByMs !== undefined) return false;
    // Whatever may have ended the process before has been run, as if another one had acquired the lease since.
    this.#suspects.line = this.#suspects.aside = 0;
    this.#cursor.lose();
    this.#looksClosely = false;
    return this.#quietTime.pass(woken);
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
    const isSlow = [...this.#lanes].some((lane) => lane.hasRunFor(this.#options.pollIntervalMs));
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
    const { concurrency } = this.#options;
    if (this.#lanes.size === 0 || (isCleared && this.#hasRoom)) return false;
    const enough = isFull || !this.#hasRoom ? Math.min(concurrency, this.#lanes.size) - 1 : 0;
    let timer: NodeJS.Timeout | undefined;
    const polled = new Promise<true>((resolve) => (timer = setTimeout(resolve, this.#longestPauseMs, true)));
    // Without room a look could start nothing, whatever was committed; a poll sees what a person has changed.
    const earlier = woken && this.#hasRoom ? [woken, polled] : [polled];
    const isPolled = await Promise.race([this.#lanes.untilAtMost(enough), ...earlier]);
    clearTimeout(timer);
    return isPolled === true;
  }

  /** Between two looks at what a person may have changed, who waits for that as long as a few leases. */
  get #longestPauseMs(): number {
    return Math.min(this.#options.pollIntervalMs, this.#options.leaseMs / 2);
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

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  /** @param isStuck the line was full before, of calls whose keys are being run, and still may be */
  async #fetch(isStuck: boolean): Promise<Found> {
    const lanesBefore = this.#lanes.size;
    this.#floor.reset();
    const isUnknown = lanesBefore === 0 && this.#goesOn && !this.#looksClosely;
    const line = isUnknown ? await this.#quietTime.look(LINE_LENGTH) : undefined;
    if (isUnknown) this.#looksClosely = line === undefined;
    if (line) {
      this.#isPaused = false;
      this.#takeLine(line);
      return { isFull: line.length >= LINE_LENGTH, isCleared: false, isChanged: this.#lanes.size > 0 };
    }
    if (this.#goesOn) await this.#seeChanges();
    if (!this.#goesOn || this.#isPaused || !this.#hasRoom) return { isFull: true, isCleared: false, isChanged: false };
    await this.#fetchDueKeys();
    const { calls, aside } = await this.#options.store.fetchLine(this.#lease, LINE_LENGTH);
    if (aside.length > 0) await this.#settler.settleUnrun([{ kind: "set-aside", seqs: aside.map(({ seq }) => seq) }]);
    const isFull = calls.length + aside.length >= LINE_LENGTH;
    this.#takeLine(calls, isFull && aside.length === 0);
    const isStarted = this.#lanes.size > lanesBefore;
    const madeRoom = isFull && isStuck && !isStarted && aside.length === 0 && (await this.#makeRoom());
    // Behind what was set aside in a line that is not full nothing is left: a pass ends although such calls keep coming.
    const isCleared = madeRoom || (isFull && aside.length > 0);
    return { isFull, isCleared, isChanged: isStarted || isCleared };
  }

  /**
   * Reads behind what was read while that is run and settled, until something else is met that has to be seen to.
   *
   * @returns whether it brought anything
   */
  async #readOn(): Promise<boolean> {
    const { store } = this.#options;
    let hasRead = false;
    while (this.#goesOn && this.#cursor.readTo !== undefined && this.#pass.budget > this.#cursor.count) {
      let timer: NodeJS.Timeout | undefined;
      const polled = new Promise<true>((resolve) => (timer = setTimeout(resolve, this.#longestPauseMs, true)));
      const isSlow = await Promise.race([this.#cursor.fallsTo(MOST_KNOWN), polled]);
      clearTimeout(timer);
      if (isSlow || !this.#goesOn) break;
      const { readTo } = this.#cursor;
      const calls = await this.#cursor.read((after) =>
        store.readAhead(this.#lease, after, LINE_LENGTH, this.#lanes.keysAside, this.#floor.seq),
      );
      if (!calls) break;
      this.#takeLine(calls);
      await this.#floor.raise(readTo);
      hasRead ||= calls.length > 0;
    }
    return hasRead;
  }

  /** Its lanes run them, and what follows can be read on behind a line that is full and was taken as a whole. */
  #takeLine(calls: QueuedCall[], isFull = calls.length >= LINE_LENGTH): void {
    const taken = partOfPass(calls, this.#dueByMs);
    const isTaken = this.#startLanes(taken) && taken.length === calls.length;
    const last = calls.at(-1);
    if (isTaken && isFull && last) this.#cursor.reached(last.seq);
    else this.#cursor.lose();
  }

  /** What a person has changed makes what was read ahead untrue: it is dropped, and the person told what cannot be. */
  async #seeChanges(): Promise<void> {
    const { store } = this.#options;
    const changes = await store.readChanges(this.#lease);
    this.#isPaused = changes?.isPaused === true;
    if (!changes) this.#keeper.lose();
    if (!changes?.isNew) return;
    const inFlight = [...this.#lanes].flatMap((lane) => [...lane.drop()]);
    await store.confirmChanges(this.#lease, changes.epoch, inFlight);
  }

  async #fetchDueKeys(): Promise<void> {
    const due = await this.#options.store.fetchDueKeys(
      this.#lease,
      MOST_DUE_KEYS,
      this.#dueByMs,
      this.#lanes.keysAside,
    );
    for (const { key, head } of due) {
      if (this.#lanes.get(nameOf(key)) || (head && partOfPass([head], this.#dueByMs).length === 0)) continue;
      if (head) this.#lanes.open(head.keyName, [head], "aside").start();
      else await this.#settler.settleUnrun([{ kind: "release", key }]);
    }
  }

  /** @returns whether each of the calls has a lane now */
  #startLanes(calls: QueuedCall[]): boolean {
    let haveLanes = true;
    const opened: Lane[] = [];
    for (const call of calls) {
      if (this.#cursor.isKnown(call)) continue;
      const lane = this.#lanes.get(call.keyName);
      if (lane === undefined) opened.push(this.#lanes.open(call.keyName, [call], "line"));
      else if (!lane.append(call)) {
        haveLanes = false;
        continue;
      }
      this.#cursor.know(call);
    }
    for (const lane of opened) lane.start();
    return haveLanes;
  }

  /** The line is full of calls whose keys are being run: they step aside, so that those behind them are seen. */
  async #makeRoom(): Promise<boolean> {
    const keys = [...this.#lanes].map(({ key }) => key);
    if (!(await this.#options.store.hasOtherKeys(this.#lease, keys))) return false;
    const settlements: StreamSettlement[] = [];
    this.#cursor.lose();
    for (const lane of this.#lanes) {
      const aside = lane.stepAside();
      if (!aside) continue;
      settlements.push({ kind: "hold", state: "busy", due: { inMs: 0 }, head: aside.head });
      // After a crash the key begins with the first call whose settling was not seen.
      if (aside.unsettled.length > 0) settlements.push({ kind: "set-aside", seqs: aside.unsettled });
    }
    if (settlements.length > 0) await this.#settler.settleUnrun(settlements);
    return settlements.length > 0;
  }

  #partsOfLanes(): LaneParts {
    return {
      ...this.#options,
      lease: this.#lease,
      pass: this.#pass,
      keeper: this.#keeper,
      isSuspect: (kind) => this.#suspects[kind] > 0,
      takeSuspicion: (kind) => (this.#suspects[kind] -= 1),
      partOfPass: (calls) => partOfPass(calls, this.#dueByMs),
      settle: (outcome) => this.#settlements.add(outcome),
      onUnroutable: ({ clockOffsetMs }) => {
        this.metUnroutable = true;
        this.#dueByMs ??= Date.now() + clockOffsetMs;
      },
      onEnded: (lane, failure) => {
        this.#failure ??= failure;
        this.#cursor.forget(lane.rest);
        this.#lanes.end(lane, failure !== undefined);
      },
    };
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
