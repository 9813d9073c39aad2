import type { Knex } from "knex";
import { expect, test } from "vitest";
import type { NewCall } from "../../src/store/insert-calls.js";
import { resolveTables } from "../../src/store/tables.js";
import { describeEachEngine } from "../support/databases.js";
import { aCall, inLine, type StoreUnderTest, untilWaiting, useStore } from "./support.js";

// Each of these keys has a lock of its own.
const [A, B] = ["customer 1", "customer 2"] as const;

describeEachEngine("writers' locks", (engine) => {
  if (engine.name === "pglite") {
    // One session: nobody else is there to wait.
    test("can be taken twice in one transaction", async () => {
      await under.knex.transaction(async (trx) => {
        await under.store.insert(trx, [inLine(A)]);
        await under.store.insert(trx, [inLine(A)]);
      });
      expect(await under.rows()).toHaveLength(2);
    });
  } else {
    betweenSessions();
  }
  const under = useStore(engine);

  function betweenSessions() {
    test("the second writer of a key waits until the first has committed", async () => {
      const [first, second] = [inLine(A), inLine(A)];
      const { trx, inserting } = await holdAndInsert(under, [first], [second]);
      await untilWaiting(under);
      await trx.commit();
      await inserting;
      expect((await under.rows()).map(({ id }) => id)).toEqual([first.id, second.id]);
    });

    test.each([
      ["a call", [inLine(A)]],
      ["calls", [inLine(A), inLine(B)]],
    ])("what waited comes after all that was stored meanwhile: %s", async (_, calls) => {
      const [first, meanwhile] = [inLine(A), inLine(A)];
      const { trx, inserting } = await holdAndInsert(under, [first], calls);
      await untilWaiting(under);
      await under.store.insert(trx, [meanwhile]);
      await trx.commit();
      await inserting;
      expect((await under.rows()).map(({ id }) => id)).toEqual([first, meanwhile, ...calls].map(({ id }) => id));
    });

    test("are taken by the statement that stores a call: no round trip of their own", async () => {
      const sent: string[] = [];
      const trx = await under.begin();
      trx.on("query", ({ sql }: { sql: string }) => sent.push(sql));
      await under.store.insert(trx, [inLine(A)]);
      expect(sent).toEqual([expect.stringMatching(/^insert/)]);
    });

    test("the second writer of a key goes on when the first has rolled back", async () => {
      const second = inLine(A);
      const { trx, inserting } = await holdAndInsert(under, [inLine(A)], [second]);
      await untilWaiting(under);
      await trx.rollback();
      await inserting;
      expect((await under.rows()).map(({ id }) => id)).toEqual([second.id]);
    });

    test("calls of one stream without a key are one lane", async () => {
      const { trx, inserting } = await holdAndInsert(under, [inLine("")], [inLine("")]);
      await untilWaiting(under);
      await trx.commit();
      await inserting;
    });

    test.each([
      ["another key", [inLine(A)], [inLine(B)]],
      ["a key that differs in case", [inLine("Cust-a")], [inLine("cust-A")]],
      ["the same key of another stream", [inLine(A)], [inLine(A, { stream: "another line" })]],
      ["publish-on-commit beside keep-order", [inLine(A)], [aCall({ stream: "line" })]],
      ["publish-on-commit beside itself", [aCall()], [aCall()]],
    ])("%s does not wait", async (_, first, second) => {
      const impatient = impatientPool(under);
      const { trx, inserting } = await holdAndInsert(under, first, second, impatient);
      await inserting;
      await trx.commit();
      expect((await under.rows()).map(({ id }) => id)).toEqual([...first, ...second].map(({ id }) => id));
    });

    test("a transaction with many keys takes no lock but theirs", async () => {
      const impatient = impatientPool(under);
      const trx = await under.begin("repeatable read");
      await under.store.insert(
        trx,
        Array.from({ length: 150 }, (_, n) => inLine(`many ${n}`)),
      );
      // The 150 keys share 130 of the 256 locks: that of `other 7` is among them, that of `other 8` is not.
      const insertOne = (key: string) => impatient.transaction((other) => under.store.insert(other, [inLine(key)]));
      await insertOne("other 8");
      await expect(insertOne("other 7")).rejects.toThrow(/timeout/i);
      await trx.commit();
    });

    test("are taken again after their savepoint was rolled back", async () => {
      const [first, second] = [inLine(A), inLine(A)];
      const trx = await under.begin("repeatable read");
      const inner = trx.transaction(async (savepoint) => {
        await under.store.insert(savepoint, [inLine(A)]);
        throw new Error("inner");
      });
      await expect(inner).rejects.toThrow("inner");
      await under.store.insert(trx, [first]);
      const inserting = under.knex.transaction((other) => under.store.insert(other, [second]));
      await untilWaiting(under);
      await trx.commit();
      await inserting;
      expect((await under.rows()).map(({ id }) => id)).toEqual([first.id, second.id]);
    });

    test.each([
      [A, B],
      [B, A],
    ])("are taken in one order, whatever the order of the calls: %s held", async (held, free) => {
      const trx = await under.begin("repeatable read");
      await under.store.insert(trx, [inLine(held)]);
      const orders = [
        [inLine(held), inLine(free)],
        [inLine(free), inLine(held)],
      ];
      const inserting = orders.map((calls) => under.knex.transaction((other) => under.store.insert(other, calls)));
      await untilWaiting(under, 2);
      await trx.commit();
      await Promise.all(inserting);
      expect(await under.rows()).toHaveLength(5);
    });

    test("are shared by a process that is told the schema and one that finds it", async () => {
      const schema = new URL(under.database.connection!.url).pathname.slice(1);
      const named = resolveTables({ schema: engine.dialect === "pg" ? "public" : schema }, under.dialect);
      const [first, second] = [inLine(A), inLine(A)];
      const trx = await under.begin("repeatable read");
      await under.store.insert(trx, [first]);
      const inserting = under.openAnother({ tables: named }).insertAlone([second]);
      await untilWaiting(under);
      await trx.commit();
      await inserting;
      expect((await under.rows()).map(({ id }) => id)).toEqual([first.id, second.id]);
    });

    test("are not taken where writersLock is false", async () => {
      const unlocked = under.openAnother({ writersLock: false });
      const impatient = impatientPool(under);
      const trx = await under.begin("repeatable read");
      await under.store.insert(trx, [inLine(A)]);
      await impatient.transaction((other) => unlocked.insert(other, [inLine(A)]));
      await trx.commit();
    });
  }
});

/** Inserts the first calls, holds their transaction open, and begins to insert the second ones in another. */
async function holdAndInsert(
  { knex, store, begin }: StoreUnderTest,
  first: NewCall[],
  second: NewCall[],
  others: Knex = knex,
): Promise<{ trx: Knex.Transaction; inserting: Promise<void> }> {
  const trx = await begin("repeatable read");
  await store.insert(trx, first);
  const inserting = others.transaction((other) => store.insert(other, second));
  return { trx, inserting };
}

/** Sessions that give up a lock instead of waiting for the test's end. */
function impatientPool(under: StoreUnderTest): Knex {
  return under.poolWith(
    under.dialect.family === "postgres" ? "set lock_timeout = '1s'" : "set session innodb_lock_wait_timeout = 1",
  );
}
