/** Wakes one sleeper before its time. A ring that nobody hears is remembered for the next sleep. */
export class WakeUp {
  #wake: (() => void) | undefined;
  #isRung = false;

  ring(): void {
    if (this.#wake) this.#wake();
    else this.#isRung = true;
  }

  async sleep(ms: number): Promise<void> {
    if (this.#isRung) {
      this.#isRung = false;
      return;
    }
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(resolve, ms);
    });
    clearTimeout(timer);
    this.#wake = undefined;
  }
}
