/** What aborts a run. Its signal is made when it is first asked for: most functions never do, and making one takes 3 µs. */
export class LazyAbort {
  #controller: AbortController | undefined;
  #aborted: { reason: unknown } | undefined;

  /** The first reason counts. */
  abort(reason: unknown): void {
    this.#aborted ??= { reason };
    this.#controller?.abort(reason);
  }

  get isAborted(): boolean {
    return this.#aborted !== undefined;
  }

  /** Whether the lease that it runs under, if there is one, has not ended by this process's clock. */
  get isSure(): boolean {
    return true;
  }

  /** Resolves when the lease is sure again, or was found lost, which aborts. */
  async makeSure(): Promise<void> {}

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort(this.#aborted.reason);
    }
    return this.#controller.signal;
  }

  throwIfAborted(): void {
    if (this.#aborted) throw this.#aborted.reason;
  }
}
