export function median(numbers: readonly number[]): number {
  return quantile(numbers, 0.5);
}

/** The least number that at least this part of them does not exceed; between two, where there is no such one. */
export function quantile(numbers: readonly number[], part: number): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const place = (sorted.length - 1) * part;
  const below = sorted[Math.floor(place)]!;
  return below + (sorted[Math.ceil(place)]! - below) * (place % 1);
}

export interface Spread {
  median: number;
  min: number;
  max: number;
}

export function spreadOf(numbers: readonly number[]): Spread {
  return { median: median(numbers), min: Math.min(...numbers), max: Math.max(...numbers) };
}
