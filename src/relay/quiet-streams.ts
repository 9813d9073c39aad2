/** The streams that a relayer keeps though they have nothing to do; beyond a number, those that have been quiet for longest go. */
export class QuietStreams {
  readonly #most: number;
  readonly #ends = new Map<string, () => void>();

  constructor(most: number) {
    this.#most = most;
  }

  get count(): number {
    return this.#ends.size;
  }

  has(key: string): boolean {
    return this.#ends.has(key);
  }

  /** @param end has it given back */
  add(key: string, end: () => void): void {
    this.#ends.set(key, end);
    const longest = this.#ends.keys().next();
    if (this.#ends.size > this.#most && !longest.done) this.#end(longest.value);
  }

  delete(key: string): void {
    this.#ends.delete(key);
  }

  endAll(): void {
    for (const key of this.#ends.keys()) this.#end(key);
  }

  #end(key: string): void {
    this.#ends.get(key)?.();
    this.#ends.delete(key);
  }
}
