import knexFactory, { type Knex } from "knex";
import { describe, expect, test } from "vitest";
import { InvalidOptionError } from "../../src/index.js";
import type { Connection } from "../../src/store/database.js";
import { defaultOwnConnections, openDatabase } from "../../src/store/own-connections.js";
import { describeEachEngine } from "../support/databases.js";
import { aCall, inLine, insert, useStore } from "./support.js";

describeEachEngine("the outbox's own connections", (engine) => {
  const under = useStore(engine);
  if (engine.name === "pglite") {
    test("are none: the session is shared", async () => {
      expect(defaultOwnConnections(under.knex)).toBe(0);
      expect(() => under.openAnother({ ownConnections: 1 })).toThrow(InvalidOptionError);
      expect(() => under.openAnother({ ownConnections: 1 })).toThrow(/^ownConnections is 1, .*; give 0$/);
      await insert(under, [aCall()]);
      expect(await under.store.claimDue("default", 1)).toHaveLength(1);
      await under.openAnother().close();
      expect(await under.rows()).toHaveLength(1);
    });
    return;
  }
  const isPostgres = engine.dialect === "pg";

  const databaseName = () => new URL(under.database.connection!.url).pathname.slice(1);
  const database = (knex: Knex, ownConnections: number) => openDatabase(knex, ownConnections, under.tables);
  const serializable = isPostgres
    ? "set session characteristics as transaction isolation level serializable"
    : "set session transaction isolation level serializable";

  describe.each([
    ["of its own", 2],
    ["shared with the application", 0],
  ])("%s", (_, ownConnections) => {
    test("see what others have committed meanwhile, whatever the sessions' own isolation is", async () => {
      // A session of PostgreSQL takes its default from the database, too.
      if (isPostgres) {
        const name = databaseName();
        await under.knex.raw(`alter database "${name}" set default_transaction_isolation = 'serializable'`);
      }
      const knex = under.poolWith(serializable);
      const own = database(knex, ownConnections);
      try {
        const count = async (connection: Connection) => {
          const { rows } = await connection.query<{ count: number | string }>(
            `select count(*) as count from ${under.tables.calls}`,
          );
          return Number(rows[0]!.count);
        };
        // The application's own session is not ours to change.
        await expectIsolation(knex, "serializable");
        await own.transaction(async (connection) => {
          expect(await count(connection)).toBe(0);
          await insert(under, [aCall()]);
          expect(await count(connection)).toBe(1);
        });
        if (isPostgres) {
          const shown = await own.query<{ transaction_isolation: string }>("show transaction_isolation");
          expect(shown.rows).toEqual([{ transaction_isolation: "read committed" }]);
        } else if (ownConnections > 0) {
          const { rows } = await own.query<{ Value: string }>(
            "show session variables where variable_name in ('tx_isolation', 'transaction_isolation')",
          );
          expect(new Set(rows.map(({ Value }) => Value))).toEqual(new Set(["READ-COMMITTED"]));
        }
        await expectIsolation(knex, "serializable");
      } finally {
        await own.close();
        if (isPostgres) await under.knex.raw(`alter database "${databaseName()}" reset default_transaction_isolation`);
      }
    });

    test("try a unit again that met a deadlock", async () => {
      await insert(under, [aCall(), aCall()]);
      const seqs = (await under.rows()).map(({ seq }) => seq);
      const lock = (connection: Connection, seq: unknown) =>
        connection.query(`update ${under.tables.calls} set attempts = attempts + 1 where seq = ?`, [seq as number]);
      const pools = [under.poolWith(), under.poolWith()].map((knex) => database(knex, ownConnections));
      let arrive: () => void = () => undefined;
      const bothHoldOne = new Promise<void>((resolve) => {
        let missing = 2;
        arrive = () => {
          missing -= 1;
          if (missing === 0) resolve();
        };
      });
      let tries = 0;
      const unit = (own: (typeof pools)[number], first: unknown, second: unknown) =>
        own.transaction(async (connection) => {
          tries += 1;
          await lock(connection, first);
          arrive();
          await bothHoldOne;
          await lock(connection, second);
        });
      await Promise.all([unit(pools[0]!, seqs[0], seqs[1]), unit(pools[1]!, seqs[1], seqs[0])]);
      expect(tries).toBeGreaterThan(2);
      expect(await under.rows()).toMatchObject([{ attempts: 2 }, { attempts: 2 }]);
      await Promise.all(pools.map((own) => own.close()));
    });

    test("are not disturbed by hooks of the application's knex", async () => {
      const names: string[] = [];
      const knex = under.database.newKnex!({
        postProcessResponse: (result: unknown) => {
          // What a hook does that knows its own queries only.
          return Array.isArray(result) ? (result[0] as unknown) : { nothing: "of use" };
        },
        wrapIdentifier: (name, wrap) => {
          names.push(name);
          return wrap(name.toUpperCase());
        },
      });
      const store = under.openAnother({ knex, ownConnections });
      await store.checkSchema();
      await store.migrate();
      const [call, line] = [aCall(), inLine("a")];
      await knex.transaction((trx) => store.insert(trx, [call, line]));
      await store.insertAlone([inLine("b")]);
      const [claimed] = await store.claimById([call.id]);
      expect(claimed).toMatchObject({ id: call.id, fence: 1, payload: "[]" });
      expect(await store.renewCalls([claimed!.lease])).toEqual([claimed!.lease]);
      expect(await store.settleCalls([{ lease: claimed!.lease, settled: { state: "sent", attempts: 1 } }])).toEqual([]);
      const lease = (await store.acquireStream("line"))!;
      const { calls } = await store.fetchLine(lease, 10);
      expect(calls).toHaveLength(2);
      expect(await store.settleStream(lease, [{ kind: "delete", seq: calls[0]!.seq }])).toBe(true);
      expect(await store.listCalls({ limit: 10 })).toMatchObject([{ state: "sent" }, { state: "due" }]);
      expect(await store.deleteSent(-1000, 10)).toBe(1);
      expect(names).toEqual([]);
    });

    test("show no arguments in their errors", async () => {
      const secret = "4111 1111 1111 1111";
      const store = under.openAnother({ ownConnections });
      const call = aCall({ payload: secret });
      await store.insertAlone([call]);
      const error: unknown = await store.insertAlone([call]).catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(Error);
      const shown = [(error as Error).message, (error as Error).stack, JSON.stringify(error)];
      for (const text of shown) expect(text).not.toContain(secret);
      expect((error as Error).message).toMatch(/^insert into .*carteiro_calls.* - .*[Dd]uplicate/);
    });
  });

  test("are not starved by the application's transactions, nor starve them", async () => {
    const knex = under.database.newKnex!({ pool: { min: 0, max: 1 } });
    const store = under.openAnother({ knex, ownConnections: 1 });
    await insert(under, [aCall(), aCall()]);
    const trx = await under.begin("read committed", knex);
    expect(await store.claimDue("default", 1)).toHaveLength(1);
    expect(await Promise.all([store.claimDue("default", 1), store.claimDue("default", 1)])).toHaveLength(2);
    await trx.commit();
  });

  test("shared with the application, wait for a free one", async () => {
    const knex = under.database.newKnex!({ pool: { min: 0, max: 1 } });
    const store = under.openAnother({ knex, ownConnections: 0 });
    await insert(under, [aCall()]);
    const trx = await under.begin("read committed", knex);
    let isClaimed = false;
    const claiming = store.claimDue("default", 1).finally(() => (isClaimed = true));
    // A whole exchange on another connection: the claim had its chance.
    await under.select("select 1");
    expect(isClaimed).toBe(false);
    await trx.commit();
    expect(await claiming).toHaveLength(1);
    await store.close();
    expect(await knex.raw("select 1")).toBeDefined();
  });

  test("are as many as were asked for, and none is left after close", async () => {
    const knex = under.database.newKnex!({ pool: { min: 3, max: 20 } });
    await knex.raw("select 1");
    const others = await openConnections();
    const own = database(knex, 3);
    const sleep = isPostgres ? "select pg_sleep(0.2)" : "select sleep(0.2)";
    const asleep = Promise.all(Array.from({ length: 9 }, () => own.query(sleep)));
    while ((await openConnections()) < others + 3);
    await asleep;
    expect(await openConnections()).toBe(others + 3);
    await own.close();
    // A server takes a moment to notice.
    while ((await openConnections()) !== others);
    await knex.destroy();
  });

  async function openConnections(): Promise<number> {
    const [row] = await under.select<{ count: number | string }>(
      isPostgres
        ? "select count(*) as count from pg_stat_activity where datname = current_database() and backend_type = 'client backend'"
        : "select count(*) as count from information_schema.processlist where db = database()",
    );
    return Number(row!.count);
  }

  async function expectIsolation(knex: Knex, isolation: string): Promise<void> {
    if (!isPostgres) return;
    const { rows } = await knex.raw<{ rows: object[] }>("show transaction_isolation");
    expect(rows).toEqual([{ transaction_isolation: isolation }]);
  }
});

test("a knex that is none, and one of another database, are refused", () => {
  const tables = {} as Parameters<typeof openDatabase>[2];
  for (const [knex, problem] of [
    [undefined, /^knex must be a knex instance/],
    [{}, /^knex must be a knex instance/],
    [() => undefined, /^knex must be a knex instance/],
    [
      Object.assign(() => undefined, { client: { dialect: "sqlite3" } }),
      /^knex speaks "sqlite3"; Carteiro knows the clients/,
    ],
  ] as const) {
    expect(() => openDatabase(knex as Knex, 0, tables)).toThrow(InvalidOptionError);
    expect(() => openDatabase(knex as Knex, 0, tables)).toThrow(problem);
  }
  const unconnected = knexFactory({ client: "pg" });
  expect(defaultOwnConnections(unconnected)).toBe(0);
  expect(() => openDatabase(unconnected, 2, tables)).toThrow(/^ownConnections is 2, .*; give 0$/);
});
