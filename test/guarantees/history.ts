/** What a run of a call showed from outside. */
export interface Run {
  key: string;
  /** The call's place in its key, as the application committed it: 1, 2, 3, … */
  place: number;
  startedAt: number;
  endedAt: number;
  succeeded: boolean;
}

/** What is wrong with a history; all empty where keep-order held. */
export interface Faults {
  /** A call ran before one that committed earlier had succeeded. */
  inversions: string[];
  /** Two runs of one key at one time. */
  overlaps: string[];
  /** A committed call that never succeeded. */
  lost: string[];
  /** A call that ran although its transaction rolled back. */
  phantoms: string[];
  /** A call that ran again although it had succeeded. */
  repeats: string[];
}

/** Of a history in which keep-order held. */
export const NO_FAULTS: Readonly<Faults> = { inversions: [], overlaps: [], lost: [], phantoms: [], repeats: [] };

/** @param committed how many calls of each key were committed; their places are 1 to that number */
export function checkHistory(runs: readonly Run[], committed: ReadonlyMap<string, number>): Faults {
  const faults: Faults = { inversions: [], overlaps: [], lost: [], phantoms: [], repeats: [] };
  const keys = new Set([...committed.keys(), ...runs.map((run) => run.key)]);
  for (const key of keys) {
    const ofKey = runs.filter((run) => run.key === key).sort((a, b) => a.startedAt - b.startedAt);
    checkKey(key, ofKey, committed.get(key) ?? 0, faults);
  }
  return faults;
}

function checkKey(key: string, runs: readonly Run[], committed: number, faults: Faults): void {
  let done = 0;
  let lastEnd = -Infinity;
  for (const { place, startedAt, endedAt, succeeded } of runs) {
    if (startedAt < lastEnd) faults.overlaps.push(`${key}/${place}`);
    lastEnd = Math.max(lastEnd, endedAt);
    if (place > committed) faults.phantoms.push(`${key}/${place}`);
    else if (place > done + 1) faults.inversions.push(`${key}/${place} before ${key}/${done + 1}`);
    else if (place <= done) faults.repeats.push(`${key}/${place}`);
    if (succeeded) done = Math.max(done, place);
  }
  for (let place = done + 1; place <= committed; place++) faults.lost.push(`${key}/${place}`);
}
