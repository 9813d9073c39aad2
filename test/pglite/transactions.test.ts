import type { PGlite } from "@electric-sql/pglite";
import type { Knex } from "knex";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { createPGliteKnex } from "../../src/pglite.js";
import { createPGlite } from "../support/pglite.js";

interface RawResult {
  command: string;
  rows: unknown[];
}

let pglite: PGlite;
let db: Knex;

beforeAll(async () => {
  pglite = await createPGlite();
  db = createPGliteKnex(pglite);
  await db.schema.createTable("parcel", (table) => {
    table.bigIncrements("id");
    table.text("label").unique();
  });
});

afterEach(async () => {
  await db("parcel").del();
});

afterAll(async () => {
  await db.destroy();
  await pglite.close();
});

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown }).code;
}

describe("transactions", () => {
  const labels = async () => (await db("parcel").orderBy("label").pluck("label")) as string[];

  it("commit, roll back, and keep to their savepoints", async () => {
    await db.transaction(async (trx) => {
      await trx("parcel").insert({ label: "a" });
      await trx.transaction(async (inner) => {
        await inner("parcel").insert({ label: "b" });
        const failed = inner.transaction((innermost) => innermost("parcel").insert([{ label: "c" }, { label: "a" }]));
        await expect(failed).rejects.toMatchObject({ code: "23505" });
      });
    });
    const failed = db.transaction(async (trx) => {
      await trx("parcel").insert({ label: "d" });
      throw new Error("changed my mind");
    });
    await expect(failed).rejects.toThrow("changed my mind");
    expect(await labels()).toEqual(["a", "b"]);
  });

  it("say COMMIT when they committed, and ROLLBACK when they were aborted", async () => {
    const commands: unknown[] = [];
    for (const statement of ["select 1", "select 1 / 0"]) {
      const trx = await db.transaction({ isolationLevel: "read committed" });
      await trx("parcel").insert({ label: statement });
      await trx.raw(statement).catch(() => undefined);
      const answer = (await trx.commit()) as unknown as { response: RawResult };
      commands.push(answer.response.command);
    }
    expect(commands).toEqual(["COMMIT", "ROLLBACK"]);
    expect(await labels()).toEqual(["select 1"]);
  });

  it("refuse statements after an error until they end, and leave the connection usable", async () => {
    const codes = await db.transaction(async (trx) => {
      const first: unknown = await trx.raw("select 1 / 0").catch(codeOf);
      const second: unknown = await trx.raw("select 1").catch(codeOf);
      return [first, second];
    });
    expect(codes).toEqual(["22012", "25P02"]);
    expect(await labels()).toEqual([]);
  });

  it("fail at COMMIT where a deferred constraint does", async () => {
    await db.raw("create table sticker (parcel bigint references parcel deferrable initially deferred)");
    const commit = db.transaction((trx) => trx("sticker").insert({ parcel: 1_000_000 }));
    await expect(commit).rejects.toMatchObject({ code: "23503" });
    expect(await db("sticker")).toEqual([]);
    await db.schema.dropTable("sticker");
  });

  it("run statements sent at once one after another", async () => {
    const answers = await db.transaction((trx) =>
      Promise.all([1, 2, 3].map(async (value) => (await trx.raw<RawResult>("select ?::int as value", [value])).rows)),
    );
    expect(answers).toEqual([[{ value: 1 }], [{ value: 2 }], [{ value: 3 }]]);
  });

  it("take locks", async () => {
    await db("parcel").insert({ label: "locked" });
    await db.transaction(async (trx) => {
      await trx.raw("select pg_advisory_xact_lock(1), pg_advisory_xact_lock_shared(2, 3)");
      expect(await trx("parcel").forUpdate().skipLocked().pluck("label")).toEqual(["locked"]);
      expect(await trx("parcel").forShare().pluck("label")).toEqual(["locked"]);
    });
  });

  it("keep out what is sent to the PGlite beside them", async () => {
    const trx = await db.transaction();
    await trx("parcel").insert({ label: "inside" });
    const beside = pglite.query("insert into parcel (label) values ('beside')");
    await trx("parcel").insert({ label: "inside too" });
    await trx.rollback();
    await beside;
    expect(await labels()).toEqual(["beside"]);
  });

  it("wait for one that was begun on the PGlite itself, but not for ever", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    await pglite.transaction(async (tx) => {
      await tx.query("insert into parcel (label) values ('theirs')");
      let refusal: unknown;
      db("parcel").insert({ label: "too early" }).catch((error: unknown) => (refusal = error)); // prettier-ignore
      while (refusal === undefined) await vi.advanceTimersByTimeAsync(60_000);
      expect(refusal).toMatchObject({ message: expect.stringContaining("PGlite was busy for 60000 ms") as string });
      await tx.rollback();
    });
    vi.useRealTimers();
    await pglite.query("select 'nobody holds it now'");
    await db("parcel").insert({ label: "in time" });
    expect(await labels()).toEqual(["in time"]);
  });
});
