/** Where one statement after another is sent, each has more to do if it waits for so long. */
const GATHER_MS = 20;
// As they are now: a test that fakes timers later does not mean these.
const { setTimeout, clearTimeout } = globalThis;

/** A statement for so many is as good as one for more. */
const ENOUGH = 64;

/**
 * Spaces out statements that follow each other without a pause, so that there are fewer of them, each for more calls. A
 * statement of few costs its planning, its commit and two turns of both processes (measured on PostgreSQL, 8 writers: a claim
 * for 1 call takes 0.7 ms of both, for 10 calls 1.0). The first one after a pause never waits.
 */
export class Gathering {
  readonly #enough: number;
  #begunAt = -Infinity;
  #wake: (() => void) | undefined;

  /** @param most what a statement can take (Default: any number) */
  constructor(most = ENOUGH) {
    this.#enough = Math.min(most, ENOUGH);
  }

  /** A statement is sent now. */
  begin(): void {
    this.#begunAt = performance.now();
  }

  /** Resolves when the next statement may be sent. @param waiting what it would be for as yet */
  async pause(waiting: number): Promise<void> {
    const ms = this.#begunAt + GATHER_MS - performance.now();
    if (ms <= 0 || waiting >= this.#enough) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }

  /** More is there to do. */
  grown(waiting: number): void {
    if (waiting >= this.#enough) this.#wake?.();
  }
}
