import { beforeEach, describe, expect, it } from "vitest";
import type { Outbox, SavedFunction } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { until } from "../support/waiting.js";

interface RawConnection {
  query(...args: unknown[]): unknown;
}

/** Tells how many statements a connection has been given and has not answered. */
function countStatements(connection: RawConnection, tell: (inFlight: number) => void): void {
  const query = connection.query.bind(connection);
  let inFlight = 0;
  connection.query = (...args) => {
    const done = args.pop() as (...answer: unknown[]) => void;
    tell((inFlight += 1));
    const answered = (...answer: unknown[]) => {
      inFlight -= 1;
      done(...answer);
    };
    return query(...args, answered);
  };
}

const warnings: string[] = [];
process.on("warning", ({ message }) => warnings.push(message));

describeEachEngine("calls made together", (engine) => {
  const outboxes = useOutboxes(engine);
  let outbox: Outbox;
  let ran: number[];
  let send: SavedFunction<[n: number], unknown>;
  let order: SavedFunction<[n: number], unknown>;
  beforeEach(() => {
    outbox = outboxes.open();
    ran = [];
    const note = async (n: number) => void ran.push(n);
    send = outbox.saveToOutbox(note, { name: "send" });
    order = outbox.saveToOutbox(note, { name: "order", strategy: "keep-order", orderingKey: (n) => `key ${n % 7}` });
  });

  /** What is sent to the database while `work` goes on, in few words. */
  const statementsOf = async (work: () => Promise<unknown>): Promise<string[]> => {
    const statements: string[] = [];
    const note = ({ sql }: { sql: string }) => {
      if (/insert into .*(advisory|writers)/s.test(sql)) statements.push("LOCK writers, INSERT calls");
      else if (/advisory|writers/.test(sql)) statements.push("LOCK writers");
      else if (sql.includes(`${outboxes.tablePrefix}calls`)) statements.push(/insert/.test(sql) ? "INSERT calls" : sql);
      else statements.push(/^[A-Z]+( TO)?/i.exec(sql)![0].toUpperCase());
    };
    outboxes.knex.on("query", note);
    try {
      await work();
    } finally {
      outboxes.knex.removeListener("query", note);
    }
    return statements;
  };
  const numbers = Array.from({ length: 50 }, (_, n) => n);

  it("in outbox.transaction are one INSERT, just before the COMMIT, and locks just before that", async () => {
    // Closed, so that no run of its own comes in between.
    await outbox.close();
    const statements = await statementsOf(() =>
      outbox.transaction(async (trx) => {
        for (const n of numbers) await send(n);
        await trx.raw("select 1");
        await outbox.transaction(async (inner) => {
          await Promise.all(numbers.map((n) => order(n)));
          await order.in(inner)(100);
          await inner.savepoint((innermost) => send.in(innermost)(101));
        });
        await order.in(trx)(102);
      }),
    );
    const savepoints = ["SAVEPOINT", "SAVEPOINT", "RELEASE", "RELEASE"];
    expect(statements).toEqual(["BEGIN", "SELECT", ...savepoints, "LOCK writers", "INSERT calls", "COMMIT"]);
    expect(await outboxes.rows()).toHaveLength(103);
    expect(await statementsOf(() => outbox.transaction(() => send(1)))).toEqual(["BEGIN", "INSERT calls", "COMMIT"]);
    expect(await statementsOf(() => outbox.transaction(() => undefined))).toEqual(["BEGIN", "COMMIT"]);
  });

  it("in one by knex are one INSERT where they are made at once, and one each where they are not", async () => {
    await outbox.close();
    const { knex } = outboxes;
    const atOnce = await statementsOf(() =>
      knex.transaction((trx) => Promise.all(numbers.map((n) => send.in(trx)(n)))),
    );
    expect(atOnce).toEqual(["BEGIN", "INSERT calls", "COMMIT"]);
    const oneByOne = await statementsOf(() =>
      knex.transaction(async (trx) => {
        for (const n of [1, 2]) await order.in(trx)(n);
      }),
    );
    const each = "LOCK writers, INSERT calls";
    expect(oneByOne).toEqual(["BEGIN", each, each, "COMMIT"]);
    expect(await outboxes.rows()).toHaveLength(52);
  });

  it("never make two statements at once on a connection", async (context) => {
    if (engine.name === "pglite") return context.skip("it queues them");
    let most = 0;
    const afterCreate = (connection: RawConnection, done: (error: null, connection: RawConnection) => void) => {
      most = Math.max(most, 1);
      countStatements(connection, (inFlight) => (most = Math.max(most, inFlight)));
      done(null, connection);
    };
    const knex = outboxes.database.newKnex!({ pool: { min: 0, max: 5, afterCreate } });
    const counted = outboxes.open({ knex });
    const save = counted.saveToOutbox(async (n: number) => void ran.push(n), { name: "send" });
    const order = counted.saveToOutbox(save.original, { name: "order", strategy: "keep-order" });
    await counted.transaction(async (trx) => {
      const nested = counted.transaction((inner) =>
        Promise.all(numbers.map((n) => (n % 2 ? order(n) : order.in(inner)(n)))),
      );
      await Promise.all([nested, ...numbers.map((n) => save(n)), ...numbers.map((n) => order.in(trx)(n))]);
    });
    await knex.transaction(async (trx) => {
      await Promise.all(numbers.map((n) => (n % 2 ? save : order).in(trx)(n)));
      await trx.transaction((inner) =>
        Promise.all([...numbers.map((n) => order.in(inner)(n)), ...numbers.map((n) => order.in(trx)(n))]),
      );
    });
    await counted.idle();
    await counted.relay();
    expect(ran).toHaveLength(300);
    expect(most).toBe(1);
    if (engine.name === "postgresql") expect(warnings).toEqual([]);
    // What is seen here proves that it would have been seen above.
    await knex.transaction((trx) => Promise.all([1, 2, 3].map(() => trx.raw("select 1"))));
    expect(most).toBe(3);
    if (engine.name === "postgresql") await until("pg has warned", () => warnings.length > 0);
  });

  it("keep the order in which they were made, however deep", async () => {
    const line = outbox.saveToOutbox(async (n: number) => void ran.push(n), { name: "line", strategy: "keep-order" });
    await outbox.transaction(async (trx) => {
      void line(1);
      await outbox.transaction(async (inner) => {
        await line(2);
        await line.in(trx)(3);
        await outbox.transaction(async () => void line(4));
        await line.in(inner)(5);
        await inner.transaction(async (innermost) => {
          await line(6);
          await line.in(innermost)(7);
        });
        await outbox
          .transaction(async () => line(-1).then(() => Promise.reject(new Error("stop"))))
          .catch(() => undefined);
        await line(8);
      });
      await trx.savepoint(() => line(9));
      const byHand = await trx.transaction();
      await line.in(byHand)(10);
      await line(11);
      await byHand.commit();
      await line(12);
    });
    await outboxes.knex.transaction(async (trx) => {
      await Promise.all([13, 14, 15].map((n) => line.in(trx)(n)));
      await trx.transaction((inner) => Promise.all([16, 17].map((n) => line.in(inner)(n))));
      await line.in(trx)(18);
    });
    await outbox.relay();
    expect(ran).toEqual(Array.from({ length: 18 }, (_, n) => n + 1));
  });

  it("more than one statement takes are written by several", async () => {
    const thousands = Array.from({ length: 2500 }, (_, n) => n);
    await outbox.close();
    const statements = await statementsOf(() => outbox.transaction(() => Promise.all(thousands.map((n) => send(n)))));
    expect(statements).toEqual(["BEGIN", "INSERT calls", "INSERT calls", "INSERT calls", "COMMIT"]);
    expect(await outboxes.rows()).toHaveLength(2500);
  });

  describe("of which one is refused", () => {
    it("do not end up in the next transaction of the connection", async () => {
      const { knex } = outboxes;
      const single = engine.name === "pglite" ? knex : outboxes.database.newKnex!({ pool: { min: 0, max: 1 } });
      for (const save of [send, order]) {
        for (let round = 0; round < 20; round++) {
          const saves: Promise<unknown>[] = [];
          const first = single.transaction(async (trx) => {
            saves.push(...Array.from({ length: 700 }, (_, n) => save.in(trx)(n)));
            for (const saved of saves) saved.catch(() => undefined);
            // Refused after a while, with some of the saves sent and others not.
            for (let turn = 0; turn < round; turn++) await Promise.resolve();
            await Promise.all([Promise.reject(new Error("stop")), ...saves]);
          });
          const second = single.transaction(async (trx) => {
            await trx.raw("select 1");
            await save.in(trx)(-1);
            await Promise.allSettled(saves);
          });
          await expect(first).rejects.toThrow("stop");
          await second;
        }
      }
      await outbox.idle();
      await outbox.relay();
      expect(ran).toEqual(Array.from({ length: 40 }, () => -1));
      expect(await outboxes.rows()).toEqual([]);
    });
  });
});
