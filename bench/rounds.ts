export interface Variant {
  name: string;
  /** One short round. @returns how many a second */
  measure(): Promise<number>;
  /** The variant that its ratio is against. (Default: none) */
  against?: string;
}

/**
 * Measures the variants in turn, round by round, so that what the machine does beside falls on all of them alike. A ratio is
 * the median of the rounds' ratios, so that it compares what was measured at one time.
 */
export async function compare(
  title: string,
  unit: string,
  variants: readonly Variant[],
  rounds: number,
): Promise<void> {
  const results = new Map(variants.map(({ name }) => [name, [] as number[]]));
  for (const { measure } of variants) await measure();
  for (let round = 0; round < rounds; round++) {
    // Each begins a round in its turn.
    const first = round % variants.length;
    for (const { name, measure } of [...variants.slice(first), ...variants.slice(0, first)]) {
      results.get(name)!.push(await measure());
    }
  }
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

function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
