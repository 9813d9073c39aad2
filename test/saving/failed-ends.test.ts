import type { Knex } from "knex";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { NotMigratedError } from "../../src/index.js";
import { describeEachEngine, type TestDatabase } from "../support/databases.js";
import { deferred } from "../support/waiting.js";
import { ambient, Books, explicit, isAmbient, useBooks, ways } from "./books.js";

class Stop extends Error {}

const ignore = () => undefined;
const codeOf = (error: unknown): unknown => (error as { code?: unknown }).code;

describeEachEngine("an end that fails", (engine) => {
  const context = useBooks(engine);

  describe.runIf(engine.dialect === "pg")("on PostgreSQL", () => {
    beforeAll(async () => {
      await context.books.db.raw("create table stamps (n int unique deferrable initially deferred)");
    });

    describe.each(ways.map((way) => [way.name, way] as const))("%s", (_, way) => {
      it("at a COMMIT refused by a deferred constraint runs nothing", async () => {
        const { books } = context;
        const stamp = (trx: Knex.Transaction) => trx.raw("insert into stamps values (1), (1)");
        const refused = way.begin(books, async (trx) => {
          await books.enter(way, trx, 1);
          await way.nest(books, trx, async (inner) => {
            await books.enter(way, inner, 2);
            await stamp(inner);
          });
        });
        await expect(refused).rejects.toMatchObject({ code: "23505" });
        const asked = way.begin(books, async (trx) => {
          await books.enter(way, trx, 3);
          await stamp(trx);
          // Knex resolves it all the same.
          await trx.commit();
        });
        await expect(asked).rejects.toMatchObject({ code: "23505" });
        await books.expectEntries([]);
      });

      it("as a silent rollback of an aborted transaction runs nothing", async () => {
        const { books } = context;
        const abort = (trx: Knex.Transaction) => trx.raw("select 1 / 0").catch(ignore);
        const work = async (trx: Knex.Transaction, n: number) => {
          await books.enter(way, trx, n);
          await abort(trx);
        };
        const nest = (n: number) => (trx: Knex.Transaction) =>
          way.nest(books, trx, (inner) => work(inner, n)).catch(ignore);
        await way.begin(books, (trx) => work(trx, 1)).catch(ignore);
        await way.begin(books, (trx) => work(trx, 2).then(() => trx.commit())).catch(ignore);
        await way.begin(books, nest(3)).catch(ignore);
        await way.begin(books, (trx) => nest(4)(trx).then(() => trx.commit())).catch(ignore);
        await way.begin(books, (trx) => abort(trx).then(() => books.call(way, trx, 5))).catch(ignore);
        await books.expectEntries([]);
      });

      it("as a silent rollback of one whose calls are not stored runs nothing", async () => {
        const { books } = context;
        if (!isAmbient(way)) return;
        for (const end of [ignore, (trx: Knex.Transaction) => trx.commit()]) {
          await way.begin(books, async (trx) => {
            await books.enter(way, trx, 1, ["on-failure"]);
            await trx.raw("select 1 / 0").catch(ignore);
            await end(trx);
          });
        }
        await books.expectEntries([]);
      });

      it("inside a savepoint costs what is around it nothing", async () => {
        const { books } = context;
        await way.begin(books, async (trx) => {
          await books.enter(way, trx, 1);
          const nested = way.nest(books, trx, async (inner) => {
            await books.enter(way, inner, 2);
            await way.nest(books, inner, async (innermost) => {
              await books.enter(way, innermost, 3);
              await innermost.raw("select 1 / 0").catch(ignore);
            });
          });
          await expect(nested).rejects.toMatchObject({ code: "25P02" });
          await books.enter(way, trx, 4);
        });
        await books.expectEntries([1, 4]);
      });
    });

    it("tells whoever began an aborted transaction with calls in it, where knex says nothing", async () => {
      const { books } = context;
      const swallow = async (trx: Knex.Transaction) => {
        await trx.raw("select 1 / 0").catch(ignore);
      };
      const ended = books.outbox.transaction(async (trx) => {
        await books.enter(ambient, trx, 1);
        await swallow(trx);
      });
      expect(await ended.catch(codeOf)).toBe("25P02");
    });
  });

  it("leaves no savepoint behind that could take the calls away between their INSERT and the COMMIT", async () => {
    const { books } = context;
    const expected: number[] = [];
    for (const [index, way] of ways.filter(isAmbient).entries()) {
      const [outside, inside] = [index * 10 + 1, index * 10 + 2];
      expected.push(outside, inside);
      const inserting = deferred();
      const savepoint = deferred();
      let nested: Promise<unknown> | undefined;
      await way.begin(books, async (trx) => {
        await books.enter(way, trx, outside);
        nested = way.nest(books, trx, async (inner) => {
          await books.enter(way, inner, inside);
          savepoint.resolve();
          await inserting.promise;
          throw new Stop();
        });
        trx.on("query", ({ sql }: { sql: string }) => sql.includes("carteiro_calls") && inserting.resolve());
        await savepoint.promise;
      });
      await expect(nested).rejects.toThrow("already complete");
    }
    await books.expectEntries(expected);
  });
});

describeEachEngine("a savepoint that nobody awaits", (engine) => {
  const context = useBooks(engine);

  it.each(ways.map((way) => [way.name, way] as const))("cannot take back what was released: %s", async (_, way) => {
    const { books } = context;
    const entered = deferred();
    const released = deferred();
    await way.begin(books, async (trx) => {
      let late: Promise<unknown> | undefined;
      await way.nest(books, trx, async (inner) => {
        await books.enter(way, inner, 1);
        late = way.nest(books, inner, async (innermost) => {
          await books.enter(way, innermost, 2);
          entered.resolve();
          await released.promise;
          throw new Stop();
        });
        await entered.promise;
      });
      released.resolve();
      await expect(late).rejects.toThrow("already complete");
      await books.enter(way, trx, 3);
    });
    await books.expectEntries([1, 2, 3]);
  });
});

describeEachEngine("calls that cannot be written", (engine) => {
  let database: TestDatabase;
  let books: Books;
  beforeAll(async () => {
    database = await engine.create();
    books = new Books(database.knex);
    await books.db.schema.createTable("entries", (table) => void table.integer("n").primary());
  });
  beforeEach(() => books.clear());
  afterAll(async () => {
    await books.outbox.close();
    await database.close();
  });

  const ends: [string, (trx: Knex.Transaction) => unknown][] = [
    ["returns", ignore],
    ["commits", (trx) => trx.commit()],
    ["commits unawaited", (trx) => void trx.commit()],
    [
      "commits unawaited, and works on",
      async (trx) => {
        const failed = deferred();
        trx.on("query-error", () => failed.resolve());
        void trx.commit();
        await failed.promise;
        await new Promise((resolve) => setImmediate(resolve));
      },
    ],
    ["commits, and again", (trx) => trx.commit().catch(() => trx.commit())],
    ["commits, and goes on", (trx) => trx.commit().catch(ignore)],
    ["commits, and rolls back", (trx) => trx.commit().catch(() => trx.rollback())],
    ["commits unawaited, and rolls back", (trx) => (void trx.commit(), trx.rollback())],
  ];
  it.each(ends)("take the rows with them: %s", async (_, end) => {
    const enter = async (trx: Knex.Transaction, n: number) => {
      await trx("entries").insert({ n });
      await books.call(ambient, trx, n);
    };
    const ended = books.outbox.transaction(
      async (trx) => {
        await enter(trx, 1);
        await books.outbox.transaction((inner) => enter(inner, 2));
        await end(trx);
      },
      { doNotRejectOnRollback: false },
    );
    await expect(ended).rejects.toThrow();
    expect(await books.rows()).toEqual([]);
  });

  it("say what to do, by both ways", async () => {
    for (const way of [ambient, explicit]) {
      const ended = way.begin(books, (trx) => books.call(way, trx, 1));
      await expect(ended).rejects.toBeInstanceOf(NotMigratedError);
    }
  });
});
