import { randomUUID } from "node:crypto";
import type { Knex } from "knex";
import { expect, test } from "vitest";
import type { ClaimedCall } from "../../src/store/claim-calls.js";
import { openDatabase } from "../../src/store/own-connections.js";
import { aCall, describeSome, inLine, useStore } from "./support.js";

interface Settings {
  host: string;
  port: number;
  user: string;
  password?: string;
  database: string;
}

describeSome("connections of the outbox's own, as the application's are", (engine) => {
  const under = useStore(engine);
  const isPostgres = engine.dialect === "pg";
  const database = (knex: Knex, ownConnections: number) => openDatabase(knex, ownConnections, under.tables);

  /** The settings of the suite's connections, as an object. */
  const settings = (changes: Partial<Settings> = {}): Settings => {
    const { hostname, port, username, password, pathname } = new URL(under.database.connection!.url);
    const account = {
      user: decodeURIComponent(username),
      ...(password ? { password: decodeURIComponent(password) } : {}),
    };
    return { host: hostname, port: Number(port), ...account, database: pathname.slice(1), ...changes };
  };
  test("are set up as the application's are", async () => {
    const setting = isPostgres ? "set application_name = 'a shop'" : "set @shop = 'a shop'";
    const asking = isPostgres ? "select current_setting('application_name') as shop" : "select @shop as shop";
    const own = database(under.poolWith(setting), 1);
    expect((await own.query(asking)).rows).toEqual([{ shop: "a shop" }]);
    await own.close();
  });

  test("fail with the error of the application's own set-up", async () => {
    const own = database(under.poolWith("nonsense"), 1);
    await expect(own.query("select 1")).rejects.toThrow(/nonsense/);
    await own.close();
  });

  test("are opened from a text, an object and functions, with a password", async () => {
    const user = `shop_${randomUUID().slice(0, 8)}`;
    const password = "p@ss:/word ' \\ ç";
    const { database: name, host, port } = settings();
    await createUser(user, password);
    const account = settings({ user, password });
    const url = `${isPostgres ? "postgres" : "mysql"}://${user}:${encodeURIComponent(password)}@${host}:${port}/${name}`;
    let asked = 0;
    const connections: Knex.Config["connection"][] = [
      url,
      account,
      { ...account, port: String(port) as unknown as number },
      () => account,
      async () => {
        asked += 1;
        return { ...account, expirationChecker: () => false };
      },
    ];
    const asking = isPostgres ? "select current_user as name" : "select substring_index(user(), '@', 1) as name";
    try {
      for (const connection of connections) {
        const knex = under.database.newKnex!({ connection });
        for (const ownConnections of [1, 0]) {
          const own = database(knex, ownConnections);
          expect((await own.query(asking)).rows).toEqual([{ name: user }]);
          await own.close();
        }
        await knex.destroy();
      }
      expect(asked).toBe(2);
      const wrong = under.database.newKnex!({ connection: settings({ user, password: "wrong" }) });
      const refused = database(wrong, 1);
      // The suite's PostgreSQL trusts everybody; the other one does not.
      if (!isPostgres) await expect(refused.query("select 1")).rejects.toThrow(/denied/);
      await refused.close();
    } finally {
      await under.knex.raw(isPostgres ? `drop role ${user}` : `drop user ${user}`);
    }
  });

  test.skipIf(isPostgres)("are not disturbed by how the application wants its numbers and dates", async () => {
    const connection = {
      ...settings(),
      ...{
        supportBigNumbers: true,
        bigNumberStrings: true,
        decimalNumbers: true,
        dateStrings: true,
        timezone: "+05:00",
      },
    };
    const store = under.openAnother({ knex: under.database.newKnex!({ connection }) });
    const calls = [aCall(), aCall(), aCall(), inLine("a")];
    await store.insertAlone(calls);
    const [one, two, three] = (await store.claimById(calls.map(({ id }) => id))) as [
      ClaimedCall,
      ClaimedCall,
      ClaimedCall,
    ];
    expect(one).toMatchObject({ fence: 1, attempts: 0, version: 1 });
    expect(await store.renewCalls([one.lease, two.lease])).toHaveLength(2);
    expect(
      await store.settleCalls([
        { lease: one.lease, settled: { state: "deleted" } },
        { lease: two.lease, settled: { state: "sent", attempts: 1 } },
        { lease: { ...three.lease, token: randomUUID() }, settled: { state: "deleted" } },
      ]),
    ).toHaveLength(1);
    const lease = (await store.acquireStream("line"))!;
    expect(lease.fence).toBe(1);
    const { calls: line } = await store.fetchLine(lease, 10);
    expect(line).toMatchObject([{ isDue: true, fence: 1 }]);
    expect(await store.settleStream(lease, [{ kind: "delete", seq: line[0]!.seq }])).toBe(true);
    const [listed] = await store.listCalls({ limit: 10, state: "sent" });
    expect(Math.abs(listed!.createdAt.getTime() - Date.now())).toBeLessThan(15 * 60 * 1000);
    expect(await store.deleteSent(-1000, 10)).toBe(1);
    expect((await under.rows()).map(({ id }) => id)).toEqual([three.id]);
  });

  async function createUser(user: string, password: string): Promise<void> {
    if (isPostgres) {
      await under.knex.raw(`create role ${user} login password '${password.replaceAll("'", "''")}'`);
      return;
    }
    await under.knex.raw(`create user ${user} identified by ?`, [password]);
    await under.knex.raw(`grant all on ${settings().database}.* to ${user}`);
  }
});
