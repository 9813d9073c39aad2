import type { Knex } from "knex";
import { afterEach, expect, test } from "vitest";
import { down, type TableOptions, up } from "../../migrations/index.js";
import { InvalidOptionError, NotMigratedError } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { aCall } from "./support.js";
import { ALL_VERSIONS, expectWorking, useEmptyDatabase } from "./support-migrate.js";

/** What knex's types leave out. */
interface MigrationConfig {
  transaction?: boolean;
}

/** The user's own migrations: a table of theirs before and after ours. */
function migrationSource(options?: TableOptions, config?: MigrationConfig): Knex.MigrationSource<string> {
  const table = (name: string): Knex.Migration => ({
    up: (knex) => knex.schema.createTable(name, (columns) => void columns.increments()),
    down: (knex) => knex.schema.dropTable(name),
  });
  const all: Record<string, Knex.Migration & { config?: MigrationConfig }> = {
    "001_orders": table("orders"),
    "002_carteiro": { up: (knex) => up(knex, options), down: (knex) => down(knex, options), config },
    "003_invoices": table("invoices"),
  };
  return {
    getMigrations: () => Promise.resolve(Object.keys(all)),
    getMigrationName: (name) => name,
    getMigration: (name) => Promise.resolve(all[name]!),
  };
}

describeEachEngine("the user's own migrations", (engine) => {
  const empty = useEmptyDatabase(engine, ["my_"]);
  afterEach(async () => {
    for (const table of ["orders", "invoices", "knex_migrations", "knex_migrations_lock"]) {
      await empty.knex.schema.dropTableIfExists(table);
    }
  });

  test.each([
    ["in a transaction each", {}, undefined],
    ["with transactions disabled", { disableTransactions: true }, undefined],
    ["with ours alone outside a transaction", {}, { transaction: false }],
  ])("make our tables and drop them, %s", async (_, settings, config) => {
    const migrate: Knex.MigratorConfig = { migrationSource: migrationSource(undefined, config), ...settings };
    await empty.knex.migrate.latest(migrate);
    const store = empty.open();
    await expectWorking(store, empty.knex);
    await empty.knex.transaction((trx) => store.insert(trx, [aCall()]));
    await empty.knex.migrate.latest(migrate);
    await store.migrate();
    expect(await store.listCalls({ limit: 10 })).toHaveLength(1);
    expect(await empty.versions()).toEqual(ALL_VERSIONS);
    await empty.knex.migrate.rollback(migrate, true);
    await expect(empty.open().checkSchema()).rejects.toThrow(NotMigratedError);
    for (const table of ["calls", "keys", "streams", "writers", "migrations"]) {
      expect(await empty.knex.schema.hasTable(`carteiro_${table}`)).toBe(false);
    }
    await empty.knex.migrate.latest(migrate);
    await expectWorking(store, empty.knex);
  });

  test("make them with a prefix", async () => {
    const migrationsOf = migrationSource({ tablePrefix: "my_" });
    await empty.knex.migrate.latest({ migrationSource: migrationsOf });
    await expectWorking(empty.open({ tablePrefix: "my_" }), empty.knex);
    await expect(empty.open().checkSchema()).rejects.toThrow(NotMigratedError);
    await empty.knex.migrate.rollback({ migrationSource: migrationsOf }, true);
  });

  test.skipIf(engine.dialect === "mysql2")("that fail leave nothing of ours behind", async () => {
    const migrating = empty.knex.transaction(async (trx) => {
      await up(trx);
      await trx.raw("select nonsense");
    });
    await expect(migrating).rejects.toThrow(/nonsense/);
    await expect(empty.open().checkSchema()).rejects.toThrow(NotMigratedError);
  });

  test.skipIf(engine.name === "pglite")("may have hooks that change names and results", async () => {
    const knex = empty.database.newKnex!({
      postProcessResponse: () => "nothing that we could use",
      wrapIdentifier: (name, wrap) => wrap(name.toUpperCase()),
    });
    await up(knex);
    await knex.transaction((trx) => up(trx));
    await expectWorking(empty.open(), empty.knex);
    await down(knex);
    await expect(empty.open().checkSchema()).rejects.toThrow(NotMigratedError);
  });

  test("may be run again, and when there is nothing to drop", async () => {
    await up(empty.knex);
    await up(empty.knex);
    await expectWorking(empty.open(), empty.knex);
    await down(empty.knex);
    await down(empty.knex);
    await expect(empty.open().checkSchema()).rejects.toThrow(NotMigratedError);
  });

  test("are told which option they got wrong", async () => {
    await expect(up(empty.knex, { tablePrefix: "my-" })).rejects.toThrow(InvalidOptionError);
    await expect(down(empty.knex, { schema: "no schema" })).rejects.toThrow(/^schema is "no schema"; use letters/);
    await expect(up("postgres://" as never)).rejects.toThrow(/^knex must be a knex instance/);
  });
});
