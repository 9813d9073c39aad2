import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { NotMigratedError } from "../../src/index.js";
import { down, up } from "../../src/store/migrate.js";
import { aCall, describeSome, sessionsWith } from "./support.js";
import { ALL_VERSIONS, expectWorking, useEmptyDatabase } from "./support-migrate.js";

const options = { schema: "Mail_Room", tablePrefix: "Out_" };

describeSome(
  "tables in a schema",
  (engine) => {
    const empty = useEmptyDatabase(engine);
    afterEach(() => empty.knex.raw(`drop schema if exists "Mail_Room" cascade`));

    test("make the schema where it is missing", async () => {
      const store = empty.open(options);
      await expect(store.checkSchema()).rejects.toThrow(NotMigratedError);
      const saving = empty.knex.transaction((trx) => store.insert(trx, [aCall()]));
      await expect(saving).rejects.toThrow(NotMigratedError);
      await store.migrate();
      await expectWorking(store, empty.knex);
      expect(await empty.versions("Mail_Room.Out_migrations")).toEqual(ALL_VERSIONS);
      await expect(empty.open().checkSchema()).rejects.toThrow(NotMigratedError);
      await down(empty.knex, options);
      await expect(empty.open(options).checkSchema()).rejects.toThrow(NotMigratedError);
    });

    test.skipIf(engine.name === "pglite")("make it once when many start at once", async () => {
      const stores = Array.from({ length: 6 }, () => empty.open(options, empty.database.newKnex!()));
      await Promise.all(stores.map((store) => store.migrate()));
      await expectWorking(stores[0]!, empty.knex);
    });

    test.skipIf(engine.name === "pglite")(
      "need no right to make a schema that is there, and none at all once migrated",
      async () => {
        const role = `carteiro_${randomUUID().replaceAll("-", "").slice(0, 16)}`;
        await empty.knex.raw(
          `create role ${role}; create schema "Mail_Room"; grant usage, create on schema "Mail_Room" to ${role}`,
        );
        try {
          const knex = empty.database.newKnex!({ pool: sessionsWith([`set role ${role}`]) });
          await expect(knex.raw("create schema another")).rejects.toThrow(/permission denied/);
          const store = empty.open(options, knex);
          await store.migrate();
          await expectWorking(store, knex);
          await empty.knex.raw(`revoke create on schema "Mail_Room" from ${role}`);
          await store.migrate();
          await expectWorking(store, knex);
          const user = empty.database.newKnex!({ pool: sessionsWith([`set role ${role}`]) });
          await expect(up(user, { ...options, tablePrefix: "other_" })).rejects.toThrow(/permission denied/);
        } finally {
          await empty.knex.raw(`drop owned by ${role} cascade; drop role ${role}`);
        }
      },
    );

    test.skipIf(engine.name === "pglite")("are found by the search path that the user's connections set", async () => {
      await empty.knex.raw(`create schema "Mail_Room"`);
      const pools = [
        empty.database.newKnex!({ pool: sessionsWith([`set search_path to "Mail_Room"`]) }),
        empty.database.newKnex!({ searchPath: ["Mail_Room", "public"] }),
      ];
      await empty.open({}, pools[0]).migrate();
      for (const knex of pools) await expectWorking(empty.open({}, knex), knex);
      expect(await empty.versions("Mail_Room.carteiro_migrations")).toEqual(ALL_VERSIONS);
      await expect(empty.open().checkSchema()).rejects.toThrow(NotMigratedError);
    });
  },
  ({ dialect }) => dialect === "pg",
);

describeSome(
  "tables in another database",
  (engine) => {
    const empty = useEmptyDatabase(engine);
    const other = { schema: `carteiro_other_${randomUUID().slice(0, 8)}`, tablePrefix: "Out_" };
    beforeAll(() => empty.knex.raw(`create database ${other.schema}`));
    afterAll(() => empty.database.newKnex!().raw(`drop database ${other.schema}`));

    test("are made there, and used from here", async () => {
      const store = empty.open(other);
      await expect(store.checkSchema()).rejects.toThrow(NotMigratedError);
      await store.migrate();
      await expectWorking(store, empty.knex);
      expect(await empty.versions(`${other.schema}.Out_migrations`)).toEqual(ALL_VERSIONS);
      await expect(empty.open().checkSchema()).rejects.toThrow(NotMigratedError);
      await down(empty.knex, other);
      await expect(empty.open(other).checkSchema()).rejects.toThrow(NotMigratedError);
    });

    test("are not made in a database that is missing", async () => {
      const store = empty.open({ schema: "carteiro_nowhere" });
      await expect(store.migrate()).rejects.toThrow(/carteiro_nowhere/);
      const saving = empty.knex.transaction((trx) => store.insert(trx, [aCall()]));
      await expect(saving).rejects.toThrow(NotMigratedError);
    });
  },
  ({ dialect }) => dialect === "mysql2",
);
