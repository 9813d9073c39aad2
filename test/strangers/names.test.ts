import fc from "fast-check";
import type { Knex } from "knex";
import knexFactory from "knex";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createOutbox, InvalidOptionError, type Outbox, type OutboxOptions } from "../../src/index.js";
import { mysql } from "../../src/store/mysql.js";
import { postgres } from "../../src/store/postgres.js";
import { resolveTables } from "../../src/store/tables.js";
import { caught } from "../saving/oddities.js";
import { describeEachEngine, type TestDatabase } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";

/** What somebody might try, and what merely is not thought of. */
const HOSTILE = [
  "'; drop table calls; --",
  '"; drop table calls; --',
  "`; drop table calls; --",
  "') or ('1' = '1",
  "\\",
  "\\'",
  '\\"',
  "''",
  '"',
  "`",
  "?",
  "??",
  "? ?? \\?",
  ":name",
  "::text",
  "$1",
  "%s",
  "%",
  "_",
  "/* */",
  "{calls}",
  "${calls}",
  "null",
  "NULL",
  "0",
  "__proto__",
  "constructor",
  "São João",
  "e\u0301 é",
  "\u{1f4ee}".repeat(50),
  "\u202eright to left",
  "ﬁ ß İ ı",
  "中文",
  "a b",
  "x".repeat(200),
  "\u{1f4ee}".repeat(100),
];

describe("a schema and a prefix of tables", () => {
  const identifier = /^[A-Za-z_][A-Za-z0-9_]{0,47}$/;
  const texts = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string({ unit: "grapheme" }),
    fc.constantFrom(...HOSTILE),
    // One letter away from what is taken.
    fc
      .tuple(
        fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,20}$/),
        fc.string({ unit: "binary", maxLength: 2 }),
        fc.nat(20),
      )
      .map(([name, odd, at]) => name.slice(0, at) + odd + name.slice(at)),
  );
  const knex = knexFactory({ client: "pg" });

  it("are refused unless they are plain identifiers, and quoted where they are", () => {
    let taken = 0;
    fc.assert(
      fc.property(texts, fc.constantFrom("schema" as const, "tablePrefix" as const), (text, option) => {
        const error = caught(() => createOutbox({ knex, [option]: text }));
        if (!identifier.test(text)) {
          expect(error).toBeInstanceOf(InvalidOptionError);
          expect(error).toMatchObject({ option });
          return;
        }
        expect(error).toBeUndefined();
        taken += 1;
        for (const dialect of [postgres, mysql]) {
          const quote = dialect.family === "postgres" ? '"' : "`";
          const { calls } = resolveTables({ [option]: text }, dialect);
          const expected = option === "schema" ? [text, "carteiro_calls"] : [`${text}calls`];
          expect(calls).toBe(expected.map((name) => `${quote}${name}${quote}`).join("."));
        }
      }),
      { numRuns: 3000 },
    );
    expect(taken).toBeGreaterThan(50);
  });
});

describeEachEngine("tables", (engine) => {
  let database: TestDatabase;
  let knex: Knex;
  const opened: Outbox[] = [];
  beforeAll(async () => {
    database = await engine.create();
    knex = database.knex;
  });
  afterEach(() => Promise.all(opened.splice(0).map((outbox) => outbox.close())));
  afterAll(() => database.close());

  async function expectWorking(options: Partial<OutboxOptions>) {
    const outbox = createOutbox({ knex, retry: { initialDelay: 0 }, ...options });
    opened.push(outbox);
    await outbox.migrate();
    const ran: string[] = [];
    const run = async (text: string) => {
      ran.push(text);
      if (ran.filter((one) => one === text).length === 1) throw new Error("once");
    };
    const send = outbox.saveToOutbox(run, { name: "send", deleteAfterSend: false });
    const publish = outbox.saveToOutbox(run, { name: "publish", strategy: "keep-order", orderingKey: () => "key" });
    await outbox.transaction(async () => {
      await send("send");
      await publish("first");
      await publish("second");
    });
    await outbox.idle();
    for (let n = 0; n < 4; n++) await outbox.relay();
    expect(ran.filter((text) => text !== "send")).toEqual(["first", "first", "second", "second"]);
    expect(ran.filter((text) => text === "send")).toHaveLength(2);
    expect(await outbox.calls.list()).toMatchObject([{ function: "send", state: "sent" }]);
    expect(await outbox.clean({ olderThan: 0 })).toEqual({ deleted: 1 });
    expect(await outbox.streams.list()).toEqual([]);
  }

  it.each(["select", "Order", "group", "_", "Ab"])("may have the prefix %s", async (tablePrefix) =>
    expectWorking({ tablePrefix }),
  );

  it("of prefixes that differ in case alone are apart, where the database tells them apart", async ({ skip }) => {
    if (engine.dialect === "mysql2") {
      // It is asked of the file system: on Linux 0, on macOS 2.
      const [[answer]] = (await knex.raw("select @@lower_case_table_names as folds")) as [[{ folds: number }]];
      skip(answer.folds !== 0, "this server folds the names of tables");
    }
    const [lower, upper] = ["case_", "CASE_"].map((tablePrefix) => createOutbox({ knex, tablePrefix })) as [
      Outbox,
      Outbox,
    ];
    opened.push(lower, upper);
    for (const outbox of [lower, upper]) await outbox.migrate();
    const save = lower.saveToOutbox(() => undefined, { name: "send" });
    await knex.transaction((trx) => save.with({ trx, delay: "1h" })());
    expect(await upper.calls.list()).toEqual([]);
    expect(await lower.calls.list()).toHaveLength(1);
  });

  it.each(["select", "Group"])("may be in the schema %s", async (schema) => {
    const isDatabase = engine.dialect === "mysql2";
    if (isDatabase) await knex.raw("create database ??", [schema]);
    try {
      await expectWorking({ schema, tablePrefix: "Table" });
    } finally {
      await Promise.all(opened.splice(0).map((outbox) => outbox.close()));
      if (isDatabase) await knex.raw("drop database ??", [schema]);
    }
  });
});

describeEachEngine("names of functions, streams, codecs, headers and keys", (engine) => {
  const outboxes = useOutboxes(engine);

  it.each(["publish-on-commit", "keep-order"] as const)(
    "may be any text, by %s: each runs, and is listed by it",
    async (strategy) => {
      const outbox = outboxes.open({ retry: { initialDelay: 0 } });
      const ran: unknown[] = [];
      const codec = (name: string) => ({
        name,
        encode: JSON.stringify,
        decode: (text: string) => JSON.parse(text) as unknown[],
      });
      const saved = HOSTILE.map((name) =>
        outbox.saveToOutbox(
          async (text: string) => {
            ran.push([name, text]);
            if (ran.length <= HOSTILE.length) throw new Error(name);
          },
          { name, stream: name, strategy, codec: codec(name) },
        ),
      );
      await outboxes.knex.transaction(async (trx) => {
        for (const [n, save] of saved.entries()) {
          const name = HOSTILE[n]!;
          const key = Buffer.byteLength(name) > 255 ? {} : { orderingKey: name };
          await save.with({ trx, delay: "1h", headers: { [name]: name }, ...(strategy === "keep-order" ? key : {}) })(
            name,
          );
        }
      });
      for (const name of HOSTILE) {
        expect(await outbox.calls.list({ stream: name, function: name })).toMatchObject([
          { stream: name, function: name },
        ]);
      }
      expect((await outbox.streams.list()).map(({ stream }) => stream).sort()).toEqual([...HOSTILE].sort());
      await outboxes.table("calls").update({ due_at: outboxes.knex.raw(outboxes.dialect.now) });
      expect(await outbox.relay()).toMatchObject({ failed: HOSTILE.length });
      for (const name of HOSTILE) expect(await outbox.relay({ stream: name })).toMatchObject({ published: 1 });
      const expected = HOSTILE.map((name) => [name, name]).sort();
      expect(ran.slice(0, HOSTILE.length).sort()).toEqual(expected);
      expect(ran.slice(HOSTILE.length).sort()).toEqual(expected);
      expect(await outboxes.rows()).toEqual([]);
    },
  );

  it.each(["a\0b", "\0", "\ud800", "a\n", " a", "a\u0000", "x".repeat(201), ""])(
    "are refused where they are %j",
    async (name) => {
      const outbox = outboxes.open();
      const wrap = (options: object) => () => outbox.saveToOutbox(() => undefined, { name: "send", ...options });
      for (const option of ["name", "stream"] as const) {
        expect(caught(wrap({ [option]: name })), option).toBeInstanceOf(InvalidOptionError);
      }
      expect(caught(wrap({ aliases: [name] }))).toBeInstanceOf(InvalidOptionError);
      expect(caught(wrap({ codec: { name, encode: String, decode: () => [] } }))).toBeInstanceOf(InvalidOptionError);
      const save = outbox.saveToOutbox(() => undefined, { name: "keyed", strategy: "keep-order" });
      if (name.length < 200 && name.trim() === name && name !== "") {
        const saving = outboxes.knex.transaction((trx) => save.with({ trx, orderingKey: name })());
        await expect(saving).rejects.toThrow(InvalidOptionError);
      }
      expect(await outboxes.rows()).toEqual([]);
    },
  );
});
