import { randomUUID } from "node:crypto";
import type { Listening } from "../store/listen.js";
import type { Store } from "../store/store.js";
import type { Logger } from "../types.js";
import { WakeUp } from "./wake-up.js";

export interface ListenerOptions {
  store: Pick<Store, "listen" | "notify">;
  logger: Logger;
  /** Told of each message. */
  onMessage: (message: string) => void;
  /** It hears from now on: what was sent before may have been missed. */
  onHearing: () => void;
  /** (Default: 3 s) */
  testMs?: number;
  /** (Default: 30 s) */
  testEveryMs?: number;
}

/** How long a message of our own may be on its way. A process that starts up is busy, and so may its database be. */
const TEST_MS = 3000;
/** A link that died silently is noticed after that. */
const TEST_EVERY_MS = 30_000;
/** A pooler in between does not go away; where it was something else, polling shall not last for ever. */
const DEAF_PAUSE_MS = 600_000;
const LONGEST_PAUSE_MS = 30_000;

/** Beyond any `statementTimeout` that makes sense: the statement ends before, one way or the other. */
const LONGEST_TEST_MS = 600_000;
const TEST = "test ";

const DEAF =
  "what this process sends by NOTIFY does not arrive where it listens, as behind PgBouncer in transaction mode: what other processes commit is found by polling. Connect directly or in session mode, or set wakeUps: { notify: false }";

/** Keeps a connection open that hears what other processes send, and makes sure that it does. */
export class Listener {
  readonly #options: ListenerOptions;
  readonly #wakeUp = new WakeUp();
  readonly #running: Promise<void>;
  #isStopped = false;
  #isHearing = false;
  #isToldDeaf = false;
  #isToldBroken = false;
  #failures = 0;
  /** The message of a test that is on its way. */
  #awaited: string | undefined;

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  /** Whether messages arrive, as far as is known. */
  get isHearing(): boolean {
    return this.#isHearing;
  }

  /** Resolves when its connection is closed. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#wakeUp.ring();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      let pauseMs = 0;
      try {
        if (!(await this.#listen())) {
          this.#tellDeaf();
          pauseMs = DEAF_PAUSE_MS;
        }
      } catch (error) {
        this.#tellBroken(error);
        pauseMs = Math.min(100 * 2 ** this.#failures, LONGEST_PAUSE_MS) * (0.5 + Math.random() / 2);
        this.#failures += 1;
      }
      await this.#pause(pauseMs, () => this.#isStopped);
    }
  }

  /**
   * Listens until it is stopped; rejects when the connection breaks.
   *
   * @returns false where nothing arrives from the beginning
   */
  async #listen(): Promise<boolean> {
    const { store, testEveryMs = TEST_EVERY_MS } = this.#options;
    const listening = await store.listen((message) => this.#hear(message));
    let isEnded = false;
    void listening.ended.then(() => {
      isEnded = true;
      this.#isHearing = false;
      this.#wakeUp.ring();
    });
    const isOver = () => isEnded || this.#isStopped;
    try {
      for (;;) {
        const arrives = await this.#test(isOver);
        if (this.#isStopped) return true;
        if (isEnded) throw new Error("the connection that listens has ended");
        if (!arrives && this.#isHearing) throw new Error("the connection that listens hears nothing any more");
        if (!arrives) return false;
        if (!this.#isHearing) this.#beginHearing();
        await this.#pause(testEveryMs, isOver);
        if (this.#isStopped) return true;
      }
    } finally {
      this.#isHearing = false;
      await this.#close(listening);
    }
  }

  #hear(message: string): void {
    if (message === this.#awaited) {
      this.#awaited = undefined;
      this.#wakeUp.ring();
    } else if (this.#isHearing && !message.startsWith(TEST)) this.#options.onMessage(message);
  }

  /** Sends a message to itself by the connections that others send on. @returns whether it arrived */
  async #test(isOver: () => boolean): Promise<boolean> {
    const { store, testMs = TEST_MS } = this.#options;
    const message = `${TEST}${randomUUID()}`;
    let failure: { error: unknown } | undefined;
    let isSent = false;
    this.#awaited = message;
    void store
      .notify([message])
      .then(() => (isSent = true))
      .catch((error: unknown) => (failure = { error }))
      .finally(() => this.#wakeUp.ring());
    const isDecided = () => isOver() || failure !== undefined || this.#awaited === undefined;
    await this.#pause(LONGEST_TEST_MS, () => isDecided() || isSent);
    await this.#pause(testMs, isDecided);
    // What came while this process was busy is read before it counts as missing.
    await new Promise((resolve) => setImmediate(resolve));
    if (failure) throw failure.error;
    return this.#awaited === undefined;
  }

  /** A ring may be one that nobody has heard before. */
  async #pause(ms: number, isOver: () => boolean): Promise<void> {
    const until = performance.now() + ms;
    for (let restMs = ms; restMs > 0 && !isOver(); restMs = until - performance.now()) await this.#wakeUp.sleep(restMs);
  }

  #beginHearing(): void {
    const { logger } = this.#options;
    if (this.#isToldBroken || this.#isToldDeaf) logger.info({}, "what other processes commit is heard by NOTIFY again");
    else logger.debug({}, "what other processes commit is heard by NOTIFY");
    this.#isHearing = true;
    this.#isToldBroken = false;
    this.#isToldDeaf = false;
    this.#failures = 0;
    this.#options.onHearing();
  }

  #tellDeaf(): void {
    if (!this.#isToldDeaf) this.#options.logger.warn({}, DEAF);
    this.#isToldDeaf = true;
  }

  #tellBroken(error: unknown): void {
    if (this.#isToldBroken || this.#isStopped) return;
    this.#isToldBroken = true;
    this.#options.logger.warn(
      { err: error },
      "listening for NOTIFY failed, and is tried again; until then what other processes commit is found by polling",
    );
  }

  async #close(listening: Listening): Promise<void> {
    try {
      await listening.close();
    } catch (error) {
      this.#options.logger.debug({ err: error }, "the connection that listens could not be closed in good order");
    }
  }
}
