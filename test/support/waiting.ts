import { setTimeout as pause } from "node:timers/promises";

/** A promise that a test settles by hand. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
}

const unresolved = new Set<Deferred<void>>();

export function deferred<T = void>(): Deferred<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((...both) => ([resolve, reject] = both));
  return { promise, resolve, reject };
}

/** One that `openGates` resolves: runs that wait for it end with their test, also where that fails. */
export function gate(): Deferred<void> {
  const made = deferred();
  unresolved.add(made);
  return made;
}

export function openGates(): void {
  for (const made of unresolved) made.resolve();
  unresolved.clear();
}

const DEADLINE_MS = 15_000;
const PAUSE_MS = 5;

/**
 * Looks until `look` gives something truthy, and returns it.
 *
 * @param what in words, for the error that is thrown when it has not come about within the deadline
 */
export async function until<T>(what: string, look: () => T | Promise<T>, deadlineMs = DEADLINE_MS): Promise<T> {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (performance.now() > deadline) throw new Error(`within ${deadlineMs} ms it did not come about that ${what}`);
    await pause(PAUSE_MS);
  }
}
