import type { Knex } from "knex";
import { afterEach, beforeEach, expect, it } from "vitest";
import { gate, openGates, until } from "../support/waiting.js";
import { describeEachPrivateServer } from "./private-servers.js";
import { Shop } from "./shop.js";

/** What the databases say of a write: read_only_sql_transaction, and ER_OPTION_PREVENTS_STATEMENT. */
const REFUSED = { pg: { code: "25006" }, mysql2: { errno: 1290 } };

describeEachPrivateServer("a database that is read-only", (under) => {
  const { client } = under;
  let shop: Shop;
  let knex: Knex;

  beforeEach(async () => {
    knex = under.pool({ connection: await ordinaryAccount() });
    await knex.schema.dropTableIfExists("orders");
    shop = new Shop(knex, { tablePrefix: `t${performance.now().toFixed(0)}_`, lease: "60s" });
    await shop.open();
  });
  afterEach(async () => {
    openGates();
    await setReadOnly(false);
    await shop.close();
  });

  /** A superuser of MariaDB may write all the same. */
  async function ordinaryAccount(): Promise<string> {
    const url = new URL(under.server.url);
    if (client === "pg") return url.href;
    await under.ask("create database if not exists app");
    await under.ask("create user if not exists app@'127.0.0.1' identified by 'app'");
    await under.ask("grant all on app.* to app@'127.0.0.1'");
    Object.assign(url, { username: "app", password: "app", pathname: "/app" });
    return url.href;
  }

  async function setReadOnly(isOn: boolean): Promise<void> {
    if (client === "mysql2") {
      await under.ask(`set global read_only = ${isOn ? 1 : 0}`);
      return;
    }
    await under.ask(`alter system set default_transaction_read_only = ${isOn ? "on" : "off"}`);
    await under.ask("select pg_reload_conf()");
    const shown = async () => {
      const { rows } = await knex.raw<{ rows: { state: string }[] }>(
        "select current_setting('default_transaction_read_only') as state",
      );
      return rows[0]?.state;
    };
    await until("the application's sessions have it", async () => (await shown()) === (isOn ? "on" : "off"));
  }

  it("refuses saves with its own error, and their transaction rolls back", async () => {
    shop.startRelayers();
    await shop.order("a", 1);
    await setReadOnly(true);
    await expect(shop.order("a", 2)).rejects.toMatchObject(REFUSED[client]);
    await setReadOnly(false);
    await shop.order("a", 3);
    await shop.expectAllRan();
    expect(await knex("orders").orderBy("id").pluck("id")).toEqual([1, 3]);
  });

  it("refuses a transaction that was open, at its save or its COMMIT", async () => {
    shop.startRelayers();
    const saved = shop.explicitOrder("a", 1, () => setReadOnly(true));
    if (client === "mysql2") await expect(saved).rejects.toMatchObject(REFUSED.mysql2);
    // PostgreSQL lets a transaction end as it began.
    else await saved;
    await setReadOnly(false);
    await shop.expectAllRan();
    expect(await knex("orders").pluck("id")).toEqual(client === "pg" ? [1] : []);
  });

  it.each(["publish-on-commit", "keep-order"] as const)(
    "is told by relayers, which try ever later and go on by themselves: %s",
    async (strategy) => {
      const ran: number[] = [];
      const late = shop.outbox.saveToOutbox(async (n: number) => void ran.push(n), {
        name: "late",
        stream: "late",
        strategy,
      });
      // With a delay, so that nobody but a relayer runs it.
      await shop.outbox.transaction(() => late.with({ delay: 1 })(1));
      await setReadOnly(true);
      const logged = shop.log.length;
      shop.startRelayers();
      await until("they tell", () => shop.relayerErrors.length >= 6);
      shop.expectEverLonger(logged);
      for (const error of shop.relayerErrors) expect(error).toMatchObject(REFUSED[client]);
      expect(ran).toEqual([]);
      await setReadOnly(false);
      await until("it ran", () => ran.length === 1);
      await shop.expectAllRan();
    },
  );

  it.each(["publish-on-commit", "keep-order"] as const)(
    "cannot settle a %s run: it is settled once it can be written to, and not repeated",
    async (strategy) => {
      shop.startRelayers();
      const opened = gate();
      const ran: number[] = [];
      const published: string[] = [];
      const slow = shop.outbox.saveToOutbox(
        async (n: number) => {
          ran.push(n);
          await opened.promise;
        },
        { name: "slow", stream: "slow", strategy },
      );
      shop.outbox.on("published", ({ call }) => void published.push(call.function));
      await shop.outbox.transaction(() => slow(1));
      await until("it runs", () => ran.length === 1);
      await setReadOnly(true);
      opened.resolve();
      await until("it was refused", () => shop.log.some((line) => line.includes("could not be settled together")));
      expect(published).toEqual([]);
      await setReadOnly(false);
      await until("it is settled", () => published.length === 1);
      await shop.expectAllRan();
      expect(ran).toEqual([1]);
    },
  );
});
