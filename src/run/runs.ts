/** What this process is running. */
export class Runs {
  readonly #ongoing = new Set<Promise<unknown>>();

  async during<T>(run: Promise<T>): Promise<T> {
    this.#ongoing.add(run);
    try {
      return await run;
    } finally {
      this.#ongoing.delete(run);
    }
  }

  /** Resolves when all that runs at this moment has ended, however much begins meanwhile. */
  async haveEnded(): Promise<void> {
    await Promise.allSettled(this.#ongoing);
  }
}
