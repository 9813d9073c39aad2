import type { Knex } from "knex";
import { beforeEach, expect, it } from "vitest";
import { CommitHints } from "../../src/commit-hint.js";
import type { NewCall } from "../../src/store/insert-calls.js";
import { deferred } from "../support/waiting.js";

let hinted: string[][];
let hints: CommitHints;
beforeEach(() => {
  hinted = [];
  hints = new CommitHints((calls) => hinted.push(calls.map(({ id }) => id)));
});

const calls = (...ids: string[]) => ids.map((id) => ({ id })) as NewCall[];
const begin = (parentTransaction?: Knex.Transaction) => {
  const execution = deferred<unknown>();
  const trx = { executionPromise: execution.promise, parentTransaction } as unknown as Knex.Transaction;
  return { trx, execution };
};
/** Whoever waits for what is settled by now has heard of it. */
const heard = () => new Promise((resolve) => setImmediate(resolve));

it("hints once for a transaction, at its end alone", async () => {
  const root = begin();
  const middle = begin(root.trx);
  const leaf = begin(middle.trx);
  hints.watch(leaf.trx, calls("a"));
  hints.watch(root.trx, calls("b", "c"));
  hints.watch(middle.trx, calls("d"));
  leaf.execution.resolve(undefined);
  middle.execution.resolve(undefined);
  await heard();
  expect(hinted).toEqual([]);
  root.execution.resolve(undefined);
  await heard();
  expect(hinted).toEqual([["a", "b", "c", "d"]]);
});

it("hints again for what was written at the very end", async () => {
  const { trx, execution } = begin();
  hints.watch(trx, calls("a"));
  execution.resolve(undefined);
  await heard();
  hints.watch(trx, calls("b"));
  await heard();
  expect(hinted).toEqual([["a"], ["b"]]);
});

it("hints at nothing of one that failed, and leaves no rejection unhandled", async () => {
  const { trx, execution } = begin();
  hints.watch(trx, calls("a"));
  execution.reject(new Error("stop"));
  await heard();
  hints.watch(trx, calls("b"));
  await heard();
  expect(hinted).toEqual([]);
});

it("takes any number of calls", async () => {
  const { trx, execution } = begin();
  const many = calls(...Array.from({ length: 50_000 }, (_, n) => String(n)));
  for (let time = 0; time < 5; time++) hints.watch(trx, many);
  execution.resolve(undefined);
  await heard();
  expect(hinted[0]).toHaveLength(250_000);
});
