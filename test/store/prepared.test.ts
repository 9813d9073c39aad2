import { describe, expect, test } from "vitest";
import { openDatabase } from "../../src/store/own-connections.js";
import { PreparedNames } from "../../src/store/prepared-names.js";
import { engines } from "../support/databases.js";
import { aCall, insert, useStore } from "./support.js";

const engine = engines.find(({ name }) => name === "postgresql")!;

describe.skipIf(engine.skipReason !== undefined)("prepared statements", () => {
  const under = useStore(engine);

  /** A single connection of our own, on which every statement is seen. */
  function open(names?: PreparedNames) {
    const db = openDatabase(under.knex, 1, under.tables, undefined, names);
    const prepared = async () => {
      const sql = "select name, statement, to_jsonb(p) ->> 'generic_plans' as generic from pg_prepared_statements p";
      const { rows } = await db.query<{ name: string; statement: string; generic: string | null }>(sql);
      return rows;
    };
    return { db, prepared };
  }
  const noTrouble = () => {
    throw new Error("names were turned off");
  };
  const COUNT = "select ?::int + 1 as n";

  test("are those that are sent again and again, planned anew each time", async () => {
    const { db, prepared } = open(new PreparedNames(noTrouble));
    for (let n = 0; n < 20; n++) {
      const { rows } = await db.query<{ n: number }>(COUNT, [n]);
      expect(rows).toEqual([{ n: n + 1 }]);
      await db.transaction((connection) => connection.query("select ?::int * 2 as n", [n]));
    }
    await db.query("select ?::text as once", ["x"]);
    for (let n = 0; n < 10; n++) await db.query("select 1 as without_bindings");
    const statements = await prepared();
    expect(statements.map(({ statement }) => statement).sort()).toEqual([
      "select $1::int * 2 as n",
      "select $1::int + 1 as n",
    ]);
    for (const { name, generic } of statements) {
      expect(name).toMatch(/^carteiro_.{1,50}$/);
      expect(["0", null]).toContain(generic);
    }
    await db.close();
  });

  test("are at most 100 on a connection, and no long ones", async () => {
    const { db, prepared } = open(new PreparedNames(noTrouble));
    for (let n = 0; n < 150; n++) {
      for (let use = 0; use < 4; use++) await db.query(`select ?::int + ${n} as n`, [use]);
    }
    expect(await prepared()).toHaveLength(100);
    await db.close();
    const another = open(new PreparedNames(noTrouble));
    const long = `select ?::int as n /* ${"x".repeat(10_000)} */`;
    for (let use = 0; use < 5; use++) await another.db.query(long, [use]);
    expect(await another.prepared()).toEqual([]);
    await another.db.close();
  });

  test("are none where they are switched off", async () => {
    const { db, prepared } = open();
    for (let n = 0; n < 10; n++) await db.query(COUNT, [n]);
    expect(await prepared()).toEqual([]);
    await db.close();
  });

  test("survive a change of their tables' columns, in a transaction as well", async () => {
    const { db } = open(new PreparedNames(noTrouble));
    const { calls } = under.tables;
    await insert(under, [aCall()]);
    const read = { sql: `select codec from ${calls} where version >= ?`, bindings: [0] };
    const single = () => db.query(read.sql, read.bindings);
    const within = () => db.transaction((connection) => connection.query(read.sql, read.bindings));
    for (const send of [single, within]) {
      for (let n = 0; n < 5; n++) await send();
      await under.knex.raw(`alter table ${calls} alter column codec type varchar(300)`);
      expect((await send()).count).toBe(1);
      await under.knex.raw(`alter table ${calls} alter column codec type text`);
      expect((await send()).count).toBe(1);
    }
    await db.close();
  });

  test("are given up, once, where the session is not the one that prepared them", async () => {
    let told = 0;
    const { db, prepared } = open(new PreparedNames(() => void (told += 1)));
    for (let n = 0; n < 5; n++) await db.query(COUNT, [n]);
    // As if another session had come in its place.
    await db.query("deallocate all");
    expect((await db.query<{ n: number }>(COUNT, [41])).rows).toEqual([{ n: 42 }]);
    for (let n = 0; n < 5; n++) await db.transaction((connection) => connection.query(COUNT, [n]));
    expect(await prepared()).toEqual([]);
    expect(told).toBe(1);
    await db.close();
  });

  test("are not planned for tables as empty as they were at first", async () => {
    const store = under.openAnother({ preparesStatements: true, ownConnections: 1 });
    await under.knex.raw(`alter table ${under.tables.calls} set (autovacuum_enabled = false)`);
    await under.knex.raw(`vacuum analyze ${under.tables.calls}`);
    for (let n = 0; n < 20; n++) await store.claimDue("default", 1);
    const calls = Array.from({ length: 1000 }, () => aCall({ stream: "another" }));
    for (let n = 0; n < 20; n++)
      await insert(
        under,
        calls.map((call) => ({ ...call, id: crypto.randomUUID() })),
      );
    const medianMs = async () => {
      const tookMs: number[] = [];
      for (let n = 0; n < 15; n++) {
        const began = performance.now();
        await store.claimDue("default", 1);
        tookMs.push(performance.now() - began);
      }
      return tookMs.sort((a, b) => a - b)[7]!;
    };
    const unanalyzed = await medianMs();
    await under.knex.raw(`analyze ${under.tables.calls}`);
    const analyzed = await medianMs();
    await under.knex.raw(`alter table ${under.tables.calls} reset (autovacuum_enabled)`);
    expect(unanalyzed).toBeLessThan(4 * analyzed + 2);
  });
});
