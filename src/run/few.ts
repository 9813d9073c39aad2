/** Lets one wait until something has become few; another who comes takes the place of the one before. */
export class Few {
  #waiting: { most: number; resolve: () => void } | undefined;

  /** @param count of now; `fall` tells of later ones */
  async reach(most: number, count: number): Promise<void> {
    if (count > most) await new Promise<void>((resolve) => (this.#waiting = { most, resolve }));
  }

  fall(count: number): void {
    if (this.#waiting === undefined || count > this.#waiting.most) return;
    const { resolve } = this.#waiting;
    this.#waiting = undefined;
    resolve();
  }
}
