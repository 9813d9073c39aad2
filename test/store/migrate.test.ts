import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { migrations } from "../../migrations/list.js";
import { createOutbox, InvalidOptionError, NotMigratedError, SchemaTooNewError } from "../../src/index.js";
import { WRITER_SLOTS } from "../../src/store/insert-calls.js";
import { down, SCHEMA_VERSION, up } from "../../src/store/migrate.js";
import { dialectOf } from "../../src/store/own-connections.js";
import { postgres } from "../../src/store/postgres.js";
import { resolveTables } from "../../src/store/tables.js";
import { describeEachEngine } from "../support/databases.js";
import { aCall, inLine } from "./support.js";
import { ALL_VERSIONS, expectWorking, useEmptyDatabase } from "./support-migrate.js";

const WHAT_TO_RUN = /npx carteiro migrate.*outbox\.migrate\(\)/;

const LONG = `p${"x".repeat(47)}`;

describeEachEngine("migrating", (engine) => {
  const empty = useEmptyDatabase(engine, ["one_", "two_", LONG]);

  test("makes the tables, once", async () => {
    const store = empty.open();
    await store.migrate();
    await expectWorking(store, empty.knex);
    await empty.knex.transaction((trx) => store.insert(trx, [aCall()]));
    await store.migrate();
    await empty.open().migrate();
    expect(await store.listCalls({ limit: 10 })).toHaveLength(1);
    expect(await empty.versions()).toEqual(migrations.map(({ version }) => version));
    expect(migrations.map(({ version }) => version)).toEqual(migrations.map((_, n) => n + 1));
    expect(SCHEMA_VERSION).toBe(migrations.length);
  });

  test.skipIf(engine.name === "pglite")("by eight at once makes them once", async () => {
    const stores = Array.from({ length: 8 }, () => empty.open({}, empty.database.newKnex!()));
    await Promise.all(stores.map((store) => store.migrate()));
    await expectWorking(stores[7]!, empty.knex);
    expect(await empty.versions()).toEqual(ALL_VERSIONS);
  });

  test.skipIf(engine.name === "pglite")("by outboxes and by migrations of the user's own at once", async () => {
    const pools = Array.from({ length: 6 }, () => empty.database.newKnex!());
    await Promise.all(
      pools.map((knex, n) => {
        if (n % 3 === 0) return empty.open({}, knex).migrate();
        if (n % 3 === 1) return up(knex);
        return knex.transaction((trx) => up(trx));
      }),
    );
    await expectWorking(empty.open(), empty.knex);
    expect(await empty.versions()).toEqual(ALL_VERSIONS);
  });

  test("goes on after a crash in its middle, wherever that was", async () => {
    const dialect = dialectOf(empty.knex);
    const tables = resolveTables({}, dialect);
    const index = (name: string) => dialect.quote(`carteiro_${name}`);
    const statements = migrations.flatMap(({ up: each }) =>
      each[dialect.family]({ ...tables, index, writerSlots: WRITER_SLOTS }),
    );
    expect(statements.length).toBeGreaterThan(4);
    for (let done = 0; done <= statements.length; done++) {
      for (const statement of statements.slice(0, done)) {
        await empty.knex.raw(typeof statement === "string" ? statement : statement.sql);
      }
      const store = empty.open();
      await store.migrate();
      await expectWorking(store, empty.knex);
      expect(await empty.versions()).toEqual(ALL_VERSIONS);
      await down(empty.knex);
    }
  });

  test("refuses tables of a newer version, and so does a relay", async () => {
    const store = empty.open();
    await store.migrate();
    const version = SCHEMA_VERSION + 1;
    await empty.knex("carteiro_migrations").insert({ version, name: "of the future", applied_at: new Date() });
    const outbox = createOutbox({ knex: empty.knex });
    try {
      const doing = [
        () => store.migrate(),
        () => outbox.migrate(),
        () => outbox.relay(),
        () => empty.open().checkSchema(),
        () => up(empty.knex),
      ];
      for (const work of doing) {
        const error: unknown = await work().catch((caught: unknown) => caught);
        expect(error).toBeInstanceOf(SchemaTooNewError);
        expect((error as Error).message).toMatch(
          new RegExp(`carteiro_calls.* at version ${version} .* knows ${SCHEMA_VERSION}: deploy`),
        );
      }
    } finally {
      await outbox.close();
    }
  });

  test("everything that needs missing tables says what to run", async () => {
    const store = empty.open();
    const outbox = createOutbox({ knex: empty.knex });
    const send = outbox.saveToOutbox(async () => {}, { name: "send" });
    const publish = outbox.saveToOutbox(async () => {}, { name: "publish", strategy: "keep-order" });
    const doing = {
      saving: () => outbox.transaction(() => send()),
      "saving in a transaction": () => empty.knex.transaction((trx) => send.in(trx)()),
      "saving keep-order": () => outbox.transaction(() => publish()),
      "saving alone": () => store.insertAlone([aCall()]),
      relaying: () => outbox.relay(),
      "claiming by id": () => store.claimById([randomUUID()]),
      claiming: () => store.claimDue("default", 1),
      acquiring: () => store.acquireStream("line"),
      cleaning: () => outbox.clean(),
      listing: () => outbox.calls.list(),
      looking: () => outbox.streams.list(),
    };
    try {
      for (const [name, work] of Object.entries(doing)) {
        const error: unknown = await work().then(
          () => `${name} resolved`,
          (caught: unknown) => caught,
        );
        expect(error).toBeInstanceOf(NotMigratedError);
        expect((error as Error).message).toMatch(WHAT_TO_RUN);
        expect((error as Error).cause).toBeInstanceOf(Error);
      }
    } finally {
      await outbox.close();
    }
  });

  test("older tables than this release needs are not migrated either", async () => {
    const store = empty.open();
    await store.migrate();
    await empty.knex("carteiro_migrations").delete();
    const error: unknown = await empty
      .open()
      .checkSchema()
      .catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(NotMigratedError);
    expect((error as Error).message).toMatch(new RegExp(`at version 0 .* needs ${SCHEMA_VERSION}: `));
    expect((error as Error).message).toMatch(WHAT_TO_RUN);
    await store.migrate();
    await expectWorking(store, empty.knex);
  });

  test("keeps two outboxes of one database apart", async () => {
    const [one, two] = [empty.open({ tablePrefix: "one_" }), empty.open({ tablePrefix: "two_" })];
    await (engine.name === "pglite"
      ? one.migrate().then(() => two.migrate())
      : Promise.all([one.migrate(), two.migrate()]));
    const call = aCall();
    await empty.knex.transaction((trx) => one.insert(trx, [call, inLine("a")]));
    expect(await two.claimById([call.id])).toEqual([]);
    expect(await two.dueStreams()).toEqual([]);
    await empty.knex.transaction((trx) => two.insert(trx, [call]));
    expect(await one.claimById([call.id])).toHaveLength(1);
    expect(await two.claimById([call.id])).toHaveLength(1);
    await down(empty.knex, { tablePrefix: "one_" });
    await expect(empty.open({ tablePrefix: "one_" }).checkSchema()).rejects.toThrow(NotMigratedError);
    expect(await two.listCalls({ limit: 10 })).toHaveLength(1);
  });

  test("takes the longest prefixes, alike but for their last letter", async () => {
    const [one, two] = [empty.open({ tablePrefix: LONG }), empty.open({ tablePrefix: `${LONG.slice(0, 47)}y` })];
    await one.migrate();
    await two.migrate();
    await expectWorking(one, empty.knex);
    await expectWorking(two, empty.knex);
    await down(empty.knex, { tablePrefix: `${LONG.slice(0, 47)}y` });
    await expectWorking(one, empty.knex);
  });
});

describe("names of tables", () => {
  test.each(["", "1st_", "my-", "my ", "my.", 'my"', "my`", "ação_", "a;drop table x", "x".repeat(49), null, 5, {}])(
    "are refused where they are no identifiers: %j",
    (name) => {
      for (const option of ["schema", "tablePrefix"] as const) {
        const resolving = () => resolveTables({ [option]: name }, postgres);
        expect(resolving).toThrow(InvalidOptionError);
        expect(resolving).toThrow(new RegExp(`^${option} is .*; use letters, digits and underscores`));
      }
    },
  );

  test("are quoted", () => {
    expect(resolveTables({ schema: "Order", tablePrefix: "Group" }, postgres)).toMatchObject({
      calls: '"Order"."Groupcalls"',
      schema: "Order",
      prefix: "Group",
    });
  });
});
