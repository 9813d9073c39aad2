import { setTimeout as delay } from "node:timers/promises";
import type { Knex } from "knex";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { OutboxOptions } from "../../src/index.js";
import { sessionsAwaitingLocks } from "../support/lock-waits.js";
import { seeded } from "../support/random.js";
import { startCuttingProxy } from "../saving/cutting-proxy.js";
import { gate, openGates, until } from "../support/waiting.js";
import { describeEachPrivateServer } from "./private-servers.js";
import { Shop } from "./shop.js";

const KILLS = 30;

// An unhandled rejection anywhere fails the run: vitest tells.
describeEachPrivateServer("connections that are killed", (under) => {
  let shop: Shop;
  let administrator: Knex;
  beforeEach(async () => {
    const admin = under.pool();
    await admin.schema.dropTableIfExists("orders");
    await admin.destroy();
    administrator = under.pool({ pool: { min: 0, max: 1 } });
  });
  afterEach(async () => {
    openGates();
    await administrator.destroy();
    await shop.close();
  });

  const tablePrefix = () => `t${performance.now().toFixed(0)}_`;
  async function open(options: Partial<OutboxOptions> = {}): Promise<void> {
    shop = new Shop(under.pool(), { tablePrefix: tablePrefix(), ...options });
    await shop.open();
    shop.startRelayers();
  }

  const seen = <Row>(answer: unknown): Row[] =>
    under.client === "pg" ? (answer as { rows: Row[] }).rows : (answer as [Row[]])[0];

  it(
    "at random, under load: no call is lost, none runs that was not stored",
    { timeout: 120_000 },
    async ({ annotate }) => {
      const seed = Date.now() % 1_000_000;
      await annotate(`seed ${seed}`);
      const random = seeded(seed);
      await open();
      shop.startWriting();
      await shop.commits(20);
      for (let kills = 0; kills < KILLS; kills++) {
        const sessions = await under.sessions();
        const session = sessions[Math.floor(random() * sessions.length)];
        if (session !== undefined) await under.end(session);
        await delay(20);
      }
      await shop.commits(20);
      await shop.stopWriting();
      expect(shop.refusals.length + shop.relayerErrors.length).toBeGreaterThan(0);
      await shop.expectAllRan();
      await shop.close();
      await administrator.destroy();
      await until("no session is left", async () => (await under.sessions()).length === 0);
    },
  );

  const isWaiting = async (session: number) => {
    const [row] = await under.ask<{ state: string | null }>(
      under.client === "pg"
        ? `select wait_event_type as state from pg_stat_activity where pid = ${session} and query = 'COMMIT;'`
        : `select state as state from information_schema.processlist where id = ${session} and info like 'COMMIT%'`,
    );
    return under.client === "pg" ? ["Lock", "IPC"].includes(String(row?.state)) : /lock/i.test(row?.state ?? "");
  };

  describe("during the COMMIT of a save", () => {
    it("which the database then rolls back: nothing runs", async () => {
      await open();
      // What holds a COMMIT up: a deferred trigger that waits for a lock, or a global lock.
      if (under.client === "pg") {
        await administrator.raw(
          `create or replace function hold() returns trigger language plpgsql as 'begin perform pg_advisory_xact_lock(7); return new; end'`,
        );
        await administrator.raw(
          "create constraint trigger held after insert on orders deferrable initially deferred for each row execute function hold()",
        );
      }
      let session = 0;
      const saved = shop.explicitOrder("a", 1, async (trx) => {
        const me = under.client === "pg" ? "select pg_backend_pid() as id" : "select connection_id() as id";
        session = seen<{ id: number }>(await trx.raw(me))[0]!.id;
        await administrator.raw(under.client === "pg" ? "select pg_advisory_lock(7)" : "flush tables with read lock");
      });
      const refused = expect(saved).rejects.toThrow();
      await until("its COMMIT waits", () => session !== 0 && isWaiting(session));
      await under.end(session);
      await until("its session is gone", async () => !(await under.sessions()).includes(session));
      await administrator.raw(under.client === "pg" ? "select pg_advisory_unlock(7)" : "unlock tables");
      await refused;
      await shop.order("a", 2);
      await shop.expectAllRan();
      expect(await administrator("orders").pluck("id")).toEqual([2]);
    });

    const onPostgres = it.runIf(under.client === "pg");
    onPostgres("that the database has done: its calls run (MariaDB waits for nobody between the two)", async () => {
      await open();
      // A COMMIT that waits for a standby which is not there has been written down already.
      const standby = async (name: string) => {
        await under.ask(`alter system set synchronous_standby_names = '${name}'`);
        await under.ask("select pg_reload_conf()");
        await until("it holds", async () => {
          const [row] = await under.ask<{ names: string }>(
            "select current_setting('synchronous_standby_names') as names",
          );
          return row?.names === name;
        });
      };
      let session = 0;
      const saved = shop.explicitOrder("a", 1, async (trx) => {
        session = seen<{ id: number }>(await trx.raw("select pg_backend_pid() as id"))[0]!.id;
        await standby("nobody");
      });
      const refused = expect(saved).rejects.toThrow();
      await until("its COMMIT waits", () => session !== 0 && isWaiting(session));
      await under.end(session);
      await refused;
      await standby("");
      await shop.expectAllRan();
      expect(await administrator("orders").pluck("id")).toEqual([1]);
    });

    it("whose answer is lost on its way back: its calls run", async () => {
      const proxy = await startCuttingProxy(under.url);
      try {
        shop = new Shop(under.pool({ connection: proxy.url }), { tablePrefix: tablePrefix() });
        await shop.open();
        const saved = shop.explicitOrder("a", 1, () => {
          proxy.cutNextCommit("after");
          return Promise.resolve();
        });
        await expect(saved).rejects.toThrow();
        expect(await administrator("orders").pluck("id")).toEqual([1]);
        // Not before: they commit, too.
        shop.startRelayers();
        await shop.expectAllRan();
      } finally {
        await shop.close();
        await proxy.close();
      }
    });
  });

  it.each(["publish-on-commit", "keep-order"] as const)(
    "as a %s run is settled: it is settled by another one, and not repeated",
    async (strategy) => {
      // Not lost on a machine that is slow.
      await open({ lease: "60s" });
      const opened = gate();
      const ran: string[] = [];
      const published: string[] = [];
      const slow = shop.outbox.saveToOutbox(
        async () => {
          ran.push("slow");
          await opened.promise;
        },
        { name: "slow", stream: "slow", strategy },
      );
      shop.outbox.on("published", ({ call }) => void published.push(call.function));
      const { id } = await shop.outbox.transaction(() => slow());
      await until("it runs", () => ran.length === 1);
      const trx = await administrator.transaction();
      await trx(shop.callsTable).where({ id }).forUpdate().select("seq");
      opened.resolve();
      for (let kills = 0; kills < 2; kills++) {
        const waiting = await until("its settling waits for the row", () => sessionsThatWaitToSettle());
        for (const session of waiting!) await under.end(session);
      }
      expect(published).toEqual([]);
      await trx.commit();
      await until("it is settled", () => published.length === 1);
      expect(ran).toEqual(["slow"]);
      await shop.expectAllRan();
    },
  );

  /** Those that wait for a row of the calls. @returns undefined where there are none */
  async function sessionsThatWaitToSettle(): Promise<number[] | undefined> {
    const sessions = await sessionsAwaitingLocks(under.client === "pg" ? "postgres" : "mysql", under.ask);
    return sessions.length > 0 ? sessions : undefined;
  }
});
