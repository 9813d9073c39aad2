import type { Store } from "../store/store.js";
import type { Logger } from "../types.js";
import { EVERYTHING } from "./messages.js";
import { WakeUp } from "./wake-up.js";

export interface NotifierOptions {
  store: Pick<Store, "notify">;
  logger: Logger;
}

/**
 * Between the end of one statement and the next. Who commits, waits for the run in another process, and commits again is not
 * held up; while many commit, it doubles. With 8 writers a commit then costs what it does without, here and in the server,
 * within what can be measured.
 */
const SHORTEST_PAUSE_MS = 2;
const LONGEST_PAUSE_MS = 16;
/** Commits since the last statement. */
const MANY = 3;
/** Where more streams have something new at a time, all are looked at. */
const MOST_MESSAGES = 100;

/** Tells other processes, on a connection of our own, that something was committed: many commits by one statement. */
export class Notifier {
  readonly #options: NotifierOptions;
  readonly #waiting = new Set<string>();
  readonly #pause = new WakeUp();
  #sending: Promise<void> | undefined;
  #isClosed = false;
  #commits = 0;
  #pauseMs = SHORTEST_PAUSE_MS;

  constructor(options: NotifierOptions) {
    this.#options = options;
  }

  /** @param messages of one commit */
  tell(messages: readonly string[]): void {
    if (this.#isClosed || messages.length === 0) return;
    this.#commits += 1;
    for (const message of messages) this.#waiting.add(message);
    if (this.#waiting.size > MOST_MESSAGES || this.#waiting.has(EVERYTHING)) {
      this.#waiting.clear();
      this.#waiting.add(EVERYTHING);
    }
    this.#sending ??= this.#send();
  }

  /** Sends what waits, and takes no more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#pause.ring();
    await this.#sending;
  }

  async #send(): Promise<void> {
    const { store, logger } = this.#options;
    // What is told in the same tick goes along with the first.
    await Promise.resolve();
    while (this.#waiting.size > 0) {
      const messages = [...this.#waiting];
      this.#waiting.clear();
      this.#commits = 0;
      try {
        await store.notify(messages);
      } catch (error) {
        logger.debug({ err: error }, "other processes could not be told of a commit; they find it by polling");
      }
      if (!this.#isClosed) await this.#pause.sleep(this.#pauseMs);
      this.#pauseMs = this.#commits < MANY ? SHORTEST_PAUSE_MS : Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS);
    }
    this.#sending = undefined;
  }
}
