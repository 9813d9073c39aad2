/** Runs that began between two moments at which somebody came to wait. */
export interface Generation {
  count: number;
  ended?: () => void;
}

/** What this process is running. Counted, and not kept: a set cost each run half a microsecond. */
export class Runs {
  #youngest: Generation = { count: 0 };
  #older: Generation[] = [];

  /** @returns what `end` wants to have */
  begin(): Generation {
    this.#youngest.count += 1;
    return this.#youngest;
  }

  end(generation: Generation): void {
    generation.count -= 1;
    if (generation.count === 0) generation.ended?.();
  }

  /** Resolves when all that runs at this moment has ended, however much begins meanwhile. */
  async haveEnded(): Promise<void> {
    const ongoing = [...this.#older, this.#youngest].filter(({ count }) => count > 0);
    this.#youngest = { count: 0 };
    this.#older = ongoing;
    await Promise.all(ongoing.map(hasEnded));
  }
}

function hasEnded(generation: Generation): Promise<void> {
  return new Promise((resolve) => {
    const before = generation.ended;
    generation.ended = () => {
      before?.();
      resolve();
    };
  });
}
