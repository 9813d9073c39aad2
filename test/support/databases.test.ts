import { expect, test } from "vitest";
import { describeEachEngine, engines } from "./databases.js";

describeEachEngine("a test database", (engine) => {
  test("is empty, its own, and can be written", async () => {
    const [one, other] = await Promise.all([engine.create(), engine.create()]);
    try {
      for (const { knex } of [one, other]) await knex.schema.createTable("notes", (table) => void table.text("note"));
      await one.knex("notes").insert({ note: "ç 🙂" });
      expect(await one.knex("notes").select("note")).toEqual([{ note: "ç 🙂" }]);
      expect(await other.knex("notes").select("note")).toEqual([]);
    } finally {
      await Promise.all([one.close(), other.close()]);
    }
  });
});

for (const engine of engines.filter((each) => each.name !== "pglite" && each.skipReason === undefined)) {
  test(`a second pool sees the same ${engine.name} database, and is destroyed with it`, async () => {
    const database = await engine.create();
    const second = database.newKnex!({ pool: { min: 0, max: 1 } });
    await database.knex.schema.createTable("notes", (table) => void table.integer("id"));
    expect(await second("notes").select("id")).toEqual([]);
    await database.close();
    await expect(second.raw("select 1")).rejects.toThrow();
  });

  test(`closing a ${engine.name} database throws when a connection to it is left`, async () => {
    const database = await engine.create();
    const sibling = await engine.create();
    const { default: knex } = await import("knex");
    const { client, url } = database.connection!;
    const stray = knex({ client, connection: url, log: { warn() {}, error() {} } });
    await stray.raw("select 1");
    try {
      await expect(database.close()).rejects.toThrow("1 connection(s) to the test's database are still open");
      const [{ count }] = (await sibling.knex
        .count("* as count")
        .from(client === "pg" ? "pg_database" : "information_schema.schemata")
        .where(client === "pg" ? "datname" : "schema_name", new URL(url).pathname.slice(1))) as [
        { count: string | number },
      ];
      expect(Number(count)).toBe(0);
    } finally {
      await stray.destroy();
      await sibling.close();
    }
  });
}
