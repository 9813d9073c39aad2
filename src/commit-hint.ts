import type { Knex } from "knex";
import type { NewCall } from "./store/insert-calls.js";

/**
 * Tells when the transaction of calls may have committed. Knex has no event for it that can be relied upon: an execution
 * resolves after a rollback without an error, after a savepoint's release, and after a COMMIT that PostgreSQL answered with
 * ROLLBACK (all seen). So this is a hint; whoever gets it must look for the rows.
 */
export class CommitHints {
  readonly #onHint: (calls: readonly NewCall[]) => void;
  readonly #waiting = new WeakMap<Knex.Transaction, NewCall[]>();

  constructor(onHint: (calls: readonly NewCall[]) => void) {
    this.#onHint = onHint;
  }

  /** Hints once for each root transaction, however many calls and savepoints it has, and for calls written at its very end. */
  watch(trx: Knex.Transaction, calls: readonly NewCall[]): void {
    const root = rootOf(trx);
    const waiting = this.#waiting.get(root);
    if (waiting) {
      for (const call of calls) waiting.push(call);
      return;
    }
    const first = [...calls];
    this.#waiting.set(root, first);
    root.executionPromise.then(
      () => {
        this.#waiting.delete(root);
        this.#onHint(first);
      },
      () => undefined,
    );
  }
}

/** The transaction that a savepoint belongs to, however deep. */
export function rootOf(trx: Knex.Transaction): Knex.Transaction {
  let root = trx;
  while (root.parentTransaction) root = root.parentTransaction;
  return root;
}
