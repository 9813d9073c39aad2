import type { Knex } from "knex";
import { describe, expect, it } from "vitest";
import { describeEachEngine, type TestDatabase } from "../support/databases.js";
import { isAmbient, useBooks, ways } from "./books.js";

const ends: [string, boolean, (trx: Knex.Transaction) => unknown][] = [
  ["returns", true, () => undefined],
  ["commits", true, (trx) => trx.commit()],
  ["throws", false, () => Promise.reject(new Error("stop"))],
  ["rolls back", false, (trx) => trx.rollback()],
];

describeEachEngine("an end that MySQL brings about by itself", (engine) => {
  if (engine.dialect !== "mysql2") return it.skip("is MySQL's alone");
  const context = useBooks(engine);
  let tables = 0;
  const createTable = (trx: Knex.Transaction) => trx.raw(`create table implicit_${++tables} (n int)`);

  describe.each(ways.map((way) => [way.name, way] as const))("by %s", (_, way) => {
    it.each(ends)("DDL commits what came before, whatever the end asks for: %s", async (_, keeps, end) => {
      const { books } = context;
      const ended = way.begin(books, async (trx) => {
        await books.enter(way, trx, 1);
        await createTable(trx);
        await books.enter(way, trx, 2);
        await end(trx);
      });
      await ended.catch(() => undefined);
      // Calls that wait for the COMMIT were no part of what the database committed.
      const ran = keeps || !isAmbient(way) ? [1, 2] : [];
      await books.expectEntries([1, 2], { "publish-on-commit": ran, "keep-order": ran, "on-failure": ran });
    });

    it("DDL inside a savepoint, which then cannot be released", async () => {
      const { books } = context;
      await way.begin(books, async (trx) => {
        await books.enter(way, trx, 1);
        await way.nest(books, trx, async (inner) => {
          await books.enter(way, inner, 2);
          await createTable(inner);
          await books.enter(way, inner, 3);
        });
        await books.enter(way, trx, 4);
      });
      await books.expectEntries([1, 2, 3, 4]);
    });

    it.each([true, false])(
      "a deadlock takes what came before, though somebody swallowed it; in a savepoint: %s",
      async (isNested) => {
        const { books, database } = context;
        const work = async (trx: Knex.Transaction) => {
          await books.enter(way, trx, 2);
          await beDeadlocked(trx, database);
          await books.enter(way, trx, 3);
        };
        await way.begin(books, async (trx) => {
          await books.enter(way, trx, 1);
          if (isNested) await way.nest(books, trx, work);
          else await work(trx);
          await books.enter(way, trx, 4);
        });
        await books.expectEntries([3, 4]);
      },
    );
  });
});

/** Makes a transaction the victim of a deadlock. */
async function beDeadlocked(trx: Knex.Transaction, { knex, newKnex }: TestDatabase): Promise<void> {
  await knex.schema.dropTableIfExists("locks");
  await knex.schema.createTable("locks", (table) => void table.integer("n").primary());
  await knex("locks").insert(Array.from({ length: 50 }, (_, n) => ({ n })));
  const lock = (by: Knex.Transaction, n: number) => by("locks").where({ n }).update({ n });
  const rival = await newKnex!().transaction();
  // The one that has changed less is the victim.
  await rival("locks").where("n", ">", 1).del();
  await lock(rival, 1);
  await lock(trx, 0);
  const [error] = await Promise.all([lock(trx, 1).catch((error: unknown) => error), lock(rival, 0)]);
  await rival.rollback();
  expect(error).toMatchObject({ code: "ER_LOCK_DEADLOCK" });
}
