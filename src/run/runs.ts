/** What this process is running. */
export class Runs {
  readonly #ongoing = new Set<object>();
  readonly #waiting = new Set<{ left: Set<object>; resolve: () => void }>();

  begin(run: object): void {
    this.#ongoing.add(run);
  }

  end(run: object): void {
    this.#ongoing.delete(run);
    for (const waiting of this.#waiting) {
      if (!waiting.left.delete(run) || waiting.left.size > 0) continue;
      this.#waiting.delete(waiting);
      waiting.resolve();
    }
  }

  /** Resolves when all that runs at this moment has ended, however much begins meanwhile. */
  async haveEnded(): Promise<void> {
    if (this.#ongoing.size === 0) return;
    await new Promise<void>((resolve) => this.#waiting.add({ left: new Set(this.#ongoing), resolve }));
  }
}
