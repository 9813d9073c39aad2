import { PGlite } from "@electric-sql/pglite";
import type { Knex } from "knex";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { createPGliteKnex, PGliteClient } from "../src/pglite.js";
import { createPGlite } from "./support/pglite.js";

let pglite: PGlite;
let db: Knex;

beforeAll(async () => {
  pglite = await createPGlite();
  db = createPGliteKnex(pglite);
  await db.schema.createTable("parcel", (table) => {
    table.bigIncrements("id");
    table.text("label").unique({ indexName: "one_label" });
    table.integer("weight");
    table.check("weight < 1000", {}, "light_enough");
    table.specificType("data", "bytea");
    table.jsonb("details");
    table.timestamp("at", { useTz: true });
    table.date("day");
    table.specificType("numbers", "integer[]");
  });
});

afterEach(async () => {
  await db("parcel").del();
});

afterAll(async () => {
  await db.destroy();
  await pglite.close();
});

interface RawResult {
  command: string | null;
  rowCount: number | null;
  rows: Record<string, unknown>[];
  fields: { name: string; dataTypeID: number; format: string }[];
}

async function valueOf(sql: string, ...bindings: unknown[]): Promise<unknown> {
  const { rows } = await db.raw<RawResult>(`select ${sql} as value`, bindings as Knex.RawBinding[]);
  return rows[0]!.value;
}

describe("results", () => {
  it("are node-postgres's for a raw statement", async () => {
    const result = await db.raw<RawResult>("select 1::int8 as a, 'x' as b");
    expect(result).toMatchObject({ command: "SELECT", rowCount: 1, rows: [{ a: "1", b: "x" }] });
    expect(result.fields).toMatchObject([
      { name: "a", dataTypeID: 20, format: "text" },
      { name: "b", dataTypeID: 25, format: "text" },
    ]);
  });

  it.each<[sql: string, command: string | null, rowCount: number | null]>([
    ["create temporary table scratch (a int)", "CREATE", null],
    ["insert into scratch values (1), (2)", "INSERT", 2],
    ["update scratch set a = 3", "UPDATE", 2],
    ["copy scratch to stdout", "COPY", 2],
    ["delete from scratch where a = 9", "DELETE", 0],
    ["with gone as (delete from scratch returning a) insert into scratch select a + 1 from gone", "INSERT", 2],
    ["drop table scratch", "DROP", null],
    ["do $$ begin raise notice 'heard by nobody'; end $$", "DO", null],
    [";", null, null],
  ])("%s answers %s %s", async (sql, command, rowCount) => {
    expect(await db.raw(sql)).toMatchObject({ command, rowCount });
  });

  it("are one for each of several statements without bindings", async () => {
    const results = await db.raw<RawResult[]>("select 1 as a; select 2 as b where false; set work_mem = '8MB'");
    expect(results.map(({ command, rowCount, rows }) => [command, rowCount, rows])).toEqual([
      ["SELECT", 1, [{ a: 1 }]],
      ["SELECT", 0, []],
      ["SET", null, []],
    ]);
  });

  it("are knex's own for insert, update and delete", async () => {
    expect(await db("parcel").insert({ label: "one", weight: 1 })).toMatchObject({ command: "INSERT", rowCount: 1 });
    expect(
      await db("parcel")
        .insert([{ label: "two" }, { label: "three" }])
        .returning("label"),
    ).toEqual([{ label: "two" }, { label: "three" }]);
    expect(await db("parcel").where("label", "two").update({ weight: 2 })).toBe(1);
    expect(await db("parcel").update({ weight: 3 }, ["label"]).where("label", "two")).toEqual([{ label: "two" }]);
    expect(
      await db("parcel").insert({ label: "one", weight: 7 }).onConflict("label").merge().returning("weight"),
    ).toEqual([{ weight: 7 }]);
    expect(await db("parcel").where("label", "nobody's").first()).toBeUndefined();
    expect(await db("parcel").orderBy("id").pluck("label")).toEqual(["one", "two", "three"]);
    expect(await db("parcel").where("label", "three").del(["label"])).toEqual([{ label: "three" }]);
    expect(await db("parcel").del()).toBe(2);
  });

  it("bring back a row as it was inserted", async () => {
    const row = {
      label: "whole",
      weight: 5,
      data: Buffer.from("bytes"),
      details: { fragile: true },
      at: new Date(1_700_000_000_123),
      day: new Date(2024, 0, 2),
      numbers: [1, 2],
    };
    await db("parcel").insert(row);
    const [stored] = await db<Record<string, unknown>>("parcel").where("label", "whole");
    expect(stored).toEqual({ id: expect.stringMatching(/^\d+$/) as string, ...row });
  });
});

describe("errors", () => {
  it("carry SQLSTATE and what it is about", async () => {
    await db("parcel").insert({ label: "taken" });
    const duplicate: unknown = await db("parcel")
      .insert({ label: "taken" })
      .catch((error: unknown) => error);
    expect(duplicate).toBeInstanceOf(Error);
    expect(duplicate).toMatchObject({
      code: "23505",
      severity: "ERROR",
      detail: "Key (label)=(taken) already exists.",
      constraint: "one_label",
      table: "parcel",
      schema: "public",
    });
    await expect(db("parcel").insert({ weight: 1000 })).rejects.toMatchObject({
      code: "23514",
      constraint: "light_enough",
    });
  });

  it.each<[sql: string, bindings: number[], code: string]>([
    ["selec 1", [], "42601"],
    ["select * from nowhere", [], "42P01"],
    ["select 1 / ?::int", [0], "22012"],
    ["select 1; select 1 / 0; select 2", [], "22012"],
    ["copy parcel (label) from stdin", [], "57014"],
    ["select 'copy' || ?::int / 0", [1], "22012"],
  ])("%s fails with its code, and the connection goes on", async (sql, bindings, code) => {
    await expect(db.raw(sql, bindings)).rejects.toMatchObject({ code });
    expect(await valueOf("1")).toBe(1);
  });
});

describe("the connection", () => {
  it("is one, and the pool may say the rest", async () => {
    const prepared: unknown[] = [];
    const afterCreate = (connection: PGConnection, done: (error: unknown, connection?: unknown) => void) => {
      connection.query("set application_name = 'carteiro test'", (error) => {
        const answered = connection.query({ text: "select $1::int as value", values: [1] });
        answered.then(({ rows }) => {
          prepared.push(rows);
          done(error, connection);
        }, done);
      });
    };
    const named = createPGliteKnex(pglite, {
      pool: { min: 0, max: 1, afterCreate },
      searchPath: ["public", "pg_temp"],
    });
    const { rows } = await named.raw<RawResult>(
      "select current_setting('application_name') a, current_setting('search_path') b",
    );
    expect(rows).toEqual([{ a: "carteiro test", b: "public, pg_temp" }]);
    expect(prepared).toEqual([[{ value: 1 }]]);
    await named.destroy();
    await db.raw("reset application_name; set search_path to public");
  });

  it.each<[pool: Knex.PoolConfig, message: string]>([
    [{ max: 2 }, "pool.max is 2; PGlite has one connection"],
    [{ max: 0 }, "pool.max is 0; PGlite has one connection"],
    [{ min: 2, max: 10 }, "pool.min is 2; PGlite has one connection"],
  ])("refuses the pool %o", (pool, message) => {
    expect(() => createPGliteKnex(pglite, { pool })).toThrow(message);
  });

  it("refuses what is no PGlite", () => {
    expect(() => createPGliteKnex({} as unknown as PGlite)).toThrow("pglite has no execProtocol(); pass a PGlite");
  });

  it("is knex's PostgreSQL to whoever asks", () => {
    expect(db.client).toBeInstanceOf(PGliteClient);
    expect(db.client).toHaveProperty("pool.max", 1);
    expect(db.client).toMatchObject({ dialect: "postgresql", driverName: "pg" });
    expect(db.client).toHaveProperty("version", expect.stringMatching(/^\d+\.\d+$/));
  });

  it("does not stream or cancel", async () => {
    await expect(db.select(1).stream().toArray()).rejects.toThrow("instead of streaming");
    await db.transaction(async (trx) => {
      await expect(trx.select(1).stream().toArray()).rejects.toThrow("instead of streaming");
    });
    expect(() => db.raw("select 1").timeout(1_000, { cancel: true })).toThrow("cancelling not supported");
    expect(await valueOf("1")).toBe(1);
  });

  it("lets timers through while statements are awaited one after another", async () => {
    let isOver = false;
    setTimeout(() => (isOver = true), 1);
    for (let count = 0; !isOver && count < 100_000; count += 1) await db.raw("select 1");
    expect(isOver).toBe(true);
  });

  it("answers while timers are faked", async () => {
    vi.useFakeTimers();
    try {
      expect(await valueOf("1")).toBe(1);
    } finally {
      vi.useRealTimers();
    }
  });
});

interface PGConnection {
  query(text: string, callback: (error: unknown) => void): void;
  query(statement: { text: string; values: unknown[] }): Promise<RawResult>;
}

describe("migrations", () => {
  it("run, and run back", async () => {
    const migration: Knex.Migration = {
      up: (knex) => knex.schema.createTable("migrated", (table) => table.increments("id")),
      down: (knex) => knex.schema.dropTable("migrated"),
    };
    const migrationSource: Knex.MigrationSource<string> = {
      getMigrations: () => Promise.resolve(["one"]),
      getMigrationName: (name) => name,
      getMigration: () => Promise.resolve(migration),
    };
    expect(await db.migrate.latest({ migrationSource })).toEqual([1, ["one"]]);
    expect(await db.schema.hasTable("migrated")).toBe(true);
    expect(await db.migrate.latest({ migrationSource })).toMatchObject({ 1: [] });
    expect(await db.migrate.rollback({ migrationSource })).toEqual([1, ["one"]]);
    expect(await db.schema.hasTable("migrated")).toBe(false);
  });
});

describe("the end", () => {
  it("of the knex instance rolls back what is open and leaves the PGlite to its owner", async () => {
    const shortLived = createPGliteKnex(pglite);
    await shortLived.raw("begin; insert into parcel (label) values ('left open')");
    await shortLived.destroy();
    expect((await pglite.query("select label from parcel")).rows).toEqual([]);
    await expect(shortLived.raw("select 1")).rejects.toThrow("Unable to acquire a connection");
  });

  it("of the PGlite is told to the next query", async () => {
    const closed = await createPGlite();
    const log = { warn: vi.fn() };
    const orphan = createPGliteKnex(closed, { log });
    await orphan.raw("select 1");
    await closed.close();
    await expect(orphan.raw("select 1")).rejects.toThrow("This PGlite is closed");
    await expect(orphan.raw("select 1")).rejects.toThrow("This PGlite is closed");
    await orphan.destroy();
  });

  it("that came before the start is told, too", async () => {
    const unstarted = new PGlite({ dataDir: "/dev/null/database" });
    unstarted.waitReady.catch(() => undefined);
    const orphan = createPGliteKnex(unstarted, { log: { warn: vi.fn() } });
    await expect(orphan.raw("select 1")).rejects.toThrow("This PGlite failed to start");
    await orphan.destroy();
  });

  it("in the middle of a statement is an error with its cause", async () => {
    const exiting = await createPGlite();
    const cause = new Error("exit(1)");
    vi.spyOn(exiting, "execProtocol").mockRejectedValue(cause);
    const orphan = createPGliteKnex(exiting, { version: "18", log: { warn: vi.fn() } });
    const failure: unknown = await orphan.raw("select 1").catch((error: unknown) => error);
    expect(failure).toMatchObject({
      message: expect.stringContaining("PGlite stopped while it ran a statement") as string,
      cause,
    });
    vi.restoreAllMocks();
    await orphan.destroy();
    await exiting.close();
  });
});
