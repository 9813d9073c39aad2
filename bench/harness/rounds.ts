import { performance } from "node:perf_hooks";
import { median } from "./statistics.js";

/** How many rounds: at least so many, and then more while this time has not passed. */
export interface Rounds {
  least: number;
  /** (Default: `least`) */
  most?: number;
  /** (Default: 0) */
  forMs?: number;
  /** A round before the first one, which counts for nothing. (Default: `true`) */
  warmsUp?: boolean;
}

/**
 * Measures all of them in turn, round by round, so that what the machine does beside falls on all alike; each begins a round
 * in its turn.
 *
 * @returns what each measured, by round
 */
export async function inRotation<Item, Result>(
  items: readonly Item[],
  { least, most = least, forMs = 0, warmsUp = true }: Rounds,
  measure: (item: Item, round: number) => Promise<Result>,
): Promise<Map<Item, Result[]>> {
  const results = new Map(items.map((item) => [item, [] as Result[]]));
  if (warmsUp) for (const item of items) await measure(item, -1);
  const began = performance.now();
  const isWanted = (round: number) => round < least || (round < most && performance.now() - began < forMs);
  for (let round = 0; isWanted(round); round++) {
    const first = round % items.length;
    for (const item of [...items.slice(first), ...items.slice(0, first)]) {
      results.get(item)!.push(await measure(item, round));
    }
  }
  return results;
}

export interface Variant {
  name: string;
  /** One short round. @returns how many a second */
  measure(): Promise<number>;
  /** The variant that its ratio is against. (Default: none) */
  against?: string;
}

/** Variants of our own, in one process. A ratio is the median of the rounds' ratios: it compares what was measured at one time. */
export async function compare(
  title: string,
  unit: string,
  variants: readonly Variant[],
  rounds: number,
): Promise<void> {
  const measured = await inRotation(variants, { least: rounds }, ({ measure }) => measure());
  const results = new Map([...measured].map(([{ name }, ofRounds]) => [name, ofRounds]));
  const medianOf = (name: string) => median(results.get(name)!);
  const ratioOf = (name: string, against: string) =>
    median(results.get(name)!.map((result, round) => result / results.get(against)![round]!));
  const width = Math.max(...variants.map(({ name }) => name.length));
  console.log(`\n${title}, median of ${rounds} rounds`);
  for (const { name, against } of variants) {
    const ratio = against === undefined ? "" : `${ratioOf(name, against).toFixed(2)} × ${against}`;
    console.log(`  ${name.padEnd(width)}  ${medianOf(name).toFixed(0).padStart(6)} ${unit}  ${ratio}`.trimEnd());
  }
}
