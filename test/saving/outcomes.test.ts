import type { Knex } from "knex";
import { describe, expect, it } from "vitest";
import { describeEachEngine } from "../support/databases.js";
import { ambient, explicit, useBooks, ways } from "./books.js";

class Stop extends Error {}

interface End {
  name: string;
  keeps: boolean;
  end: (trx: Knex.Transaction) => unknown;
}

/** Every way in which the work of a transaction, or of a savepoint, can end. */
const ends: End[] = [
  { name: "returns", keeps: true, end: () => undefined },
  { name: "throws", keeps: false, end: () => Promise.reject(new Stop()) },
  { name: "commits", keeps: true, end: (trx) => trx.commit() },
  { name: "rolls back", keeps: false, end: (trx) => trx.rollback() },
  { name: "rolls back with an error", keeps: false, end: (trx) => trx.rollback(new Stop()) },
];

/** Ends that are asked for twice, or not awaited: the first one counts. */
const sloppyEnds: End[] = [
  ...ends,
  { name: "commits and throws", keeps: true, end: (trx) => trx.commit().then(() => Promise.reject(new Stop())) },
  { name: "commits twice", keeps: true, end: (trx) => trx.commit().then(() => trx.commit()) },
  { name: "commits and rolls back", keeps: true, end: (trx) => trx.commit().then(() => trx.rollback()) },
  { name: "rolls back and commits", keeps: false, end: (trx) => trx.rollback().then(() => trx.commit()) },
  { name: "commits unawaited", keeps: true, end: (trx) => void trx.commit() },
  {
    name: "commits unawaited and throws",
    keeps: true,
    end(trx) {
      void trx.commit();
      throw new Stop();
    },
  },
  { name: "rolls back unawaited", keeps: false, end: (trx) => void trx.rollback() },
];

const ignore = () => undefined;

describeEachEngine("a transaction ends", (engine) => {
  const context = useBooks(engine);

  for (const doNotRejectOnRollback of [true, false]) {
    const config = { doNotRejectOnRollback };
    for (const way of doNotRejectOnRollback ? ways : [ambient, explicit]) {
      describe(`by ${way.name}, doNotRejectOnRollback: ${doNotRejectOnRollback}`, () => {
        it("on three levels, in all combinations", async () => {
          const { books } = context;
          const expected: number[] = [];
          const combinations = ends.flatMap((root) =>
            ends.flatMap((middle) => ends.map((leaf) => [root, middle, leaf] as const)),
          );
          for (const [index, [root, middle, leaf]] of combinations.entries()) {
            const first = index * 10;
            const inLeaf = async (trx: Knex.Transaction) => {
              await books.enter(way, trx, first + 3);
              await leaf.end(trx);
            };
            const inMiddle = async (trx: Knex.Transaction) => {
              await books.enter(way, trx, first + 2);
              await way.nest(books, trx, inLeaf, config).catch(ignore);
              await books.enter(way, trx, first + 4);
              await middle.end(trx);
            };
            const inRoot = async (trx: Knex.Transaction) => {
              await books.enter(way, trx, first + 1);
              await way.nest(books, trx, inMiddle, config).catch(ignore);
              await books.enter(way, trx, first + 5);
              await root.end(trx);
            };
            await way.begin(books, inRoot, config).catch(ignore);
            const levels = [[root], [root, middle], [root, middle, leaf], [root, middle], [root]];
            levels.forEach((around, n) => around.every(({ keeps }) => keeps) && expected.push(first + n + 1));
          }
          await books.outbox.idle();
          expect(books.ran()).toMatchObject({ "publish-on-commit": expected, "keep-order": [] });
          await books.expectEntries(expected);
        });

        it("twice or unawaited, on two levels", async () => {
          const { books } = context;
          const expected: number[] = [];
          const combinations = sloppyEnds.flatMap((root) => sloppyEnds.map((leaf) => [root, leaf] as const));
          for (const [index, [root, leaf]] of combinations.entries()) {
            const first = index * 10;
            const inLeaf = async (trx: Knex.Transaction) => {
              await books.enter(way, trx, first + 2);
              await leaf.end(trx);
            };
            const inRoot = async (trx: Knex.Transaction) => {
              await books.enter(way, trx, first + 1);
              await way.nest(books, trx, inLeaf, config).catch(ignore);
              await books.enter(way, trx, first + 3);
              await root.end(trx);
            };
            await way.begin(books, inRoot, config).catch(ignore);
            if (root.keeps) expected.push(first + 1, ...(leaf.keeps ? [first + 2] : []), first + 3);
          }
          await books.expectEntries(expected);
        });
      });
    }
  }
});
