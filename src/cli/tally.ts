import type { RelayResult } from "../types.js";

/** Counts the outcomes of calls. */
export class Tally {
  published = 0;
  /** To be tried again, by itself or once a person says so. */
  failed = 0;
  dead = 0;
  unroutable = 0;
  readonly #samples: { atMs: number; published: number }[] = [];

  /** Calls published per second, over the last five at most. To be asked again and again. */
  perSecond(nowMs: number): number {
    this.#samples.push({ atMs: nowMs, published: this.published });
    while (this.#samples.length > 2 && nowMs - this.#samples[0]!.atMs > 5000) this.#samples.shift();
    const first = this.#samples[0]!;
    const elapsedMs = nowMs - first.atMs;
    return elapsedMs === 0 ? 0 : ((this.published - first.published) * 1000) / elapsedMs;
  }
}

type Counts = Pick<RelayResult, "published" | "failed" | "dead" | "unroutable"> & { blockedCount?: number };

export function summaryOf({ published, failed, dead, unroutable, blockedCount }: Counts): string {
  const blocked = blockedCount === undefined ? "" : `, blocked keys ${blockedCount}`;
  return `published ${published}, failed ${failed}, dead ${dead}, unroutable ${unroutable}${blocked}`;
}
