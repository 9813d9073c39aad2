/** What is claimed ahead of the slots is what runs within this time: after a crash all of it is suspected, and run one by one. */
const AHEAD_MS = 20;
/** Of a claim; calls of 8 KiB make 4 MiB of it. */
export const MOST_PER_CLAIM = 500;

/** How many calls a relay claims at once: more than there are free slots where they run so quickly that it would always be claiming. */
export class ClaimPace {
  #since = performance.now();
  #ended = 0;
  #perMs = 0;

  /** A run has ended. */
  count(): void {
    this.#ended += 1;
  }

  /** How many are worth claiming beyond those that run; 0 where runs take long. */
  ahead(): number {
    const now = performance.now();
    const tookMs = now - this.#since;
    // One that has just been asked has nothing new to tell.
    if (tookMs >= 1) {
      this.#perMs = this.#ended / tookMs;
      this.#since = now;
      this.#ended = 0;
    }
    return Math.min(MOST_PER_CLAIM, Math.floor(this.#perMs * AHEAD_MS));
  }
}
