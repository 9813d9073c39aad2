import type { DueFrom } from "../store/claim-calls.js";

/** What came back in front of those that are claimed waits for so long at most. */
const LONGEST_MS = 1000;

/**
 * From where a relay claims: not from the first call that is due each time, since where a transaction is open for hours each
 * claim would pass all that was run since (seen on PostgreSQL with 100,000: 12 ms). No order is promised that this could break.
 */
export class ClaimFrom implements DueFrom {
  place: DueFrom["place"];
  #sinceFirst = performance.now();
  #isFromFirst = true;

  /** A claim is about to be made. */
  begin(): void {
    if (performance.now() - this.#sinceFirst >= LONGEST_MS) this.place = undefined;
    this.#isFromFirst = this.place === undefined;
    if (this.#isFromFirst) this.#sinceFirst = performance.now();
  }

  /** @returns whether nothing is left, from the first call on */
  hasAll(claimed: number, wanted: number): boolean {
    if (claimed < wanted) this.place = undefined;
    return claimed === 0 && this.#isFromFirst;
  }
}
