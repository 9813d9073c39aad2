import { setImmediate } from "node:timers";

/** A run that has limits of time. */
export interface Limited {
  readonly hasEnded: boolean;
  /** Sets its timers. */
  limit(): void;
}

/** Sets the timers of runs that outlive the turn of the event loop in which they began: most others end before. */
export class Overtime {
  #begun: Limited[] = [];

  watch(run: Limited): void {
    if (this.#begun.push(run) === 1) setImmediate(() => this.#limit());
  }

  #limit(): void {
    const begun = this.#begun;
    this.#begun = [];
    for (const run of begun) if (!run.hasEnded) run.limit();
  }
}
