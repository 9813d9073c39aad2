import type { Knex } from "knex";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createOutbox, currentCall } from "../../src/index.js";
import { describeEachEngine, type Engine, type TestDatabase } from "../support/databases.js";
import { until } from "../support/waiting.js";
import { Books, isAmbient, ways } from "./books.js";
import { type CuttingProxy, startCuttingProxy } from "./cutting-proxy.js";

describeEachEngine("a connection lost", (engine) => {
  if (engine.name === "pglite") return it.skip("is nothing that PGlite knows");
  let database: TestDatabase;
  let proxy: CuttingProxy;
  let books: Books;
  beforeAll(async () => {
    database = await engine.create();
    proxy = await startCuttingProxy(database.connection!.url);
    books = new Books(database.newKnex!({ connection: proxy.url, pool: { min: 0, max: 1 } }));
    await books.open();
  });
  /**
   * Where a connection's end comes some time after the error of its last query, knex hands it out once more: with one
   * connection in the pool, one answer tells that the broken one is gone.
   */
  const poolIsWell = () =>
    until("the broken connection is gone from the pool", () => {
      const answered = books.db.raw("select 1");
      return answered.then(
        () => true,
        () => false,
      );
    });
  beforeEach(() => books.clear());
  afterAll(async () => {
    await books.outbox.close();
    await database.close();
    await proxy.close();
  });

  it("as a failed call is stored after its run: stores it once, and says so", async () => {
    const knex = database.newKnex!({ connection: proxy.url });
    const lost: unknown[] = [];
    const logger = { debug() {}, info() {}, warn() {}, error: (fields: unknown) => void lost.push(fields) };
    const outbox = createOutbox({ knex, logger, lease: "5s", retry: { initialDelay: 1 } });
    try {
      const attempts: unknown[] = [];
      const flaky = async () => {
        attempts.push(currentCall()!.attempt);
        if (attempts.length > 1) return;
        proxy.cutNextCommit("after");
        throw new Error("down");
      };
      const send = outbox.saveToOutbox(flaky, { name: "flaky", persist: "on-failure" });
      await outbox.transaction(() => send());
      await outbox.idle();
      expect(lost).toEqual([]);
      expect(await outbox.calls.list()).toMatchObject([{ function: "flaky", attempts: 1 }]);
      expect(await outbox.relay()).toMatchObject({ published: 1 });
      expect(attempts).toEqual([1, 2]);
    } finally {
      await outbox.close();
    }
  });

  describe.each(ways.map((way) => [way.name, way] as const))("by %s", (_, way) => {
    const work = async (trx: Knex.Transaction, n: number) => {
      await books.enter(way, trx, n);
      await way.nest(books, trx, (inner) => books.enter(way, inner, n + 1));
    };

    it("before COMMIT, killed by the server: runs nothing", async () => {
      const returned = way.begin(books, async (trx) => {
        await work(trx, 1);
        await kill(engine, database.knex, trx);
      });
      await expect(returned).rejects.toThrow();
      await poolIsWell();
      const committed = way.begin(books, async (trx) => {
        await work(trx, 11);
        await kill(engine, database.knex, trx);
        // Knex resolves it all the same where it sends nothing but the COMMIT.
        await trx.commit();
      });
      await expect(committed).rejects.toThrow();
      await poolIsWell();
      await books.expectEntries([]);
    });

    it("during COMMIT, before the server got it: runs nothing", async () => {
      const ended = way.begin(books, async (trx) => {
        await work(trx, 1);
        proxy.cutNextCommit("before");
      });
      await expect(ended).rejects.toThrow();
      await poolIsWell();
      await books.expectEntries([]);
    });

    it("during COMMIT, after the server had done it: forgets nothing that was stored", async () => {
      const ended = way.begin(books, async (trx) => {
        await work(trx, 1);
        proxy.cutNextCommit("after");
      });
      await expect(ended).rejects.toThrow();
      await poolIsWell();
      // What was not stored needs COMMIT's own positive answer, and did not get it.
      await books.expectEntries([1, 2], isAmbient(way) ? { "on-failure": [] } : {});
    });
  });
});

/** Ends a transaction's connection from another one, and waits until it is gone. */
async function kill({ dialect }: Engine, other: Knex, trx: Knex.Transaction): Promise<void> {
  const [ask, end, look] =
    dialect === "pg"
      ? [
          "select pg_backend_pid() as id",
          "select pg_terminate_backend(?)",
          "select 1 from pg_stat_activity where pid = ?",
        ]
      : ["select connection_id() as id", "kill ?", "select 1 from information_schema.processlist where id = ?"];
  const rowsOf = (answer: unknown) =>
    (dialect === "pg" ? (answer as { rows: [] }).rows : (answer as [[]])[0]) as { id: number }[];
  const { id } = rowsOf(await trx.raw(ask))[0]!;
  await other.raw(end, [id]);
  await until("the connection is gone", async () => rowsOf(await other.raw(look, [id])).length === 0);
}
