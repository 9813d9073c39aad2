import { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { Knex } from "knex";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { StatementTimeoutError } from "../../src/index.js";
import { openDatabase } from "../../src/store/own-connections.js";
import { openStore } from "../../src/store/store.js";
import { resolveTables } from "../../src/store/tables.js";
import { type FaultProxy, startFaultProxy } from "../faults/fault-proxy.js";
import { describeEachServer } from "../support/outboxes.js";
import { until } from "../support/waiting.js";
import { useStore } from "./support.js";

const TIMEOUT_MS = 400;
/** Where an answer must come in time, also on a busy machine. */
const PATIENT_MS = 2000;
/** Far beyond the timeout, and far below what a driver or the pool has for a limit. */
const SOON_MS = 10_000;

describeEachServer("a statement that gets no answer", (engine) => {
  const under = useStore(engine);
  const isPostgres = engine.dialect === "pg";
  const sleep = (seconds: number) => (isPostgres ? `select pg_sleep(${seconds})` : `select sleep(${seconds})`);
  const session = isPostgres ? "select pg_backend_pid() as id" : "select connection_id() as id";
  let proxy: FaultProxy;
  let knex: Knex;
  const opened: { close(): Promise<void> }[] = [];

  beforeEach(async () => {
    proxy = await startFaultProxy(under.database.connection!.url);
    knex = under.database.newKnex!({ connection: proxy.url, pool: { min: 0, max: 2 } });
  });
  afterEach(async () => {
    proxy.set("pass");
    await Promise.all(opened.splice(0).map((one) => one.close()));
    await knex.destroy();
    await proxy.close();
  });

  function open(statementTimeoutMs: number | undefined = TIMEOUT_MS, ownConnections = 1, on = knex) {
    const own = openDatabase(on, ownConnections, under.tables, statementTimeoutMs);
    opened.push(own);
    return own;
  }

  const soon = async <T>(work: Promise<T>): Promise<T> => {
    const late = new AbortController();
    const tooLate = delay(SOON_MS, undefined, { signal: late.signal }).then(() => {
      throw new Error(`it was still waiting after ${SOON_MS} ms`);
    });
    return Promise.race([work, tooLate]).finally(() => {
      late.abort();
      tooLate.catch(() => undefined);
    });
  };

  test("rejects, on a link that swallows it, and the next one has a new connection", async () => {
    const own = open();
    await own.query("select 1");
    proxy.set("swallow");
    const error: unknown = await soon(own.query("select 1")).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(StatementTimeoutError);
    expect(error).toMatchObject({ code: "CARTEIRO_STATEMENT_TIMEOUT" });
    expect((error as Error).message).toMatch(/the database has not answered for 400 ms/);
    await expect(soon(own.query("select 1"))).rejects.toThrow();
    proxy.set("pass");
    expect(await soon(own.query("select 1 as one"))).toMatchObject({ rows: [{ one: 1 }] });
    await until("the dead connections are closed", () => proxy.open === 1);
  });

  test("rejects while it connects, and leaves no socket behind", async () => {
    const own = open();
    proxy.set("swallow");
    await expect(soon(own.query("select 1"))).rejects.toThrow();
    expect(proxy.accepted).toBeGreaterThan(0);
    await until("its socket is closed", () => proxy.open === 0);
    proxy.set("pass");
    expect(await soon(own.query("select 1 as one"))).toMatchObject({ rows: [{ one: 1 }] });
  });

  test("rejects while its connection is being set up", async () => {
    const own = open();
    const isSwallowed = proxy.setAt(/isolation level read committed/, "swallow");
    await expect(soon(own.query("select 1"))).rejects.toThrow();
    await isSwallowed;
    await until("its socket is closed", () => proxy.open === 0);
  });

  test.each(["BEGIN", "select 7", "COMMIT", "ROLLBACK"])("rejects in a transaction, at its %s", async (text) => {
    const own = open();
    await own.query("select 1");
    const isSwallowed = proxy.setAt(new RegExp(text), "swallow");
    const failure = new Error("the work's own");
    const ended = own.transaction(async (connection) => {
      await connection.query("select 7 as seven");
      if (text === "ROLLBACK") throw failure;
    });
    await expect(soon(ended)).rejects.toThrow(text === "ROLLBACK" ? failure : StatementTimeoutError);
    await isSwallowed;
    proxy.set("pass");
    expect(await soon(own.query("select 1 as one"))).toMatchObject({ rows: [{ one: 1 }] });
    await until("the dead connection is closed", () => proxy.open === 1);
  });

  test("rejects in the middle of its answer", async () => {
    const own = open();
    await own.query("select 1");
    const { answered } = proxy;
    const asked = own.query("select repeat('x', 8000000) as text").then(
      () => undefined,
      (error: unknown) => error,
    );
    await until("the answer has begun", () => proxy.answered > answered + 10_000);
    proxy.set("swallow");
    expect(await soon(asked)).toBeInstanceOf(StatementTimeoutError);
  });

  test("rejects where the database takes too long itself", async () => {
    const own = open();
    await expect(soon(own.query(sleep((5 * TIMEOUT_MS) / 1000)))).rejects.toThrow(StatementTimeoutError);
    expect(await soon(own.query("select 1 as one"))).toMatchObject({ rows: [{ one: 1 }] });
  });

  test("keeps no idle connection from being closed", async () => {
    const own = open();
    await own.query("select 1");
    proxy.set("swallow");
    await soon(own.close());
    await until("its socket is closed", () => proxy.open === 0);
  });

  test("is told from one that is answered late", async () => {
    const own = open(PATIENT_MS);
    await own.query("select 1");
    proxy.set("hold");
    const asked = own.query("select 1 as one");
    await delay(PATIENT_MS / 6);
    proxy.set("pass");
    expect(await asked).toMatchObject({ rows: [{ one: 1 }] });
  });

  test("is told from an idle connection, which stays open", async () => {
    const own = open();
    const before = (await own.query(session)).rows;
    await delay(3 * TIMEOUT_MS);
    expect((await own.query(session)).rows).toEqual(before);
    expect(proxy.accepted).toBe(1);
  });

  test("is told from one whose answer came while this process was busy", async () => {
    // Without the proxy, which is as busy as the rest of this process.
    const own = open(PATIENT_MS, 1, under.knex);
    const before = (await own.query(session)).rows;
    const asked = own.query(sleep(PATIENT_MS / 4000));
    await delay(PATIENT_MS / 10);
    // Where Node runs timers next, before it reads from sockets.
    await new Promise<void>((resolve) => {
      setImmediate(() => {
        const end = performance.now() + 1.2 * PATIENT_MS;
        while (performance.now() < end);
        resolve();
      });
    });
    await asked;
    expect((await own.query(session)).rows).toEqual(before);
  });

  test("may be found out by the system, which is asked to probe idle links", async () => {
    const probing = vi.spyOn(Socket.prototype, "setKeepAlive");
    try {
      await open().query("select 1");
      expect(probing).toHaveBeenCalledWith(true, 60_000);
    } finally {
      probing.mockRestore();
    }
  });

  test("is the application's to limit, on the pool that is shared", async () => {
    const shared = open(TIMEOUT_MS, 0);
    expect((await shared.query(sleep((3 * TIMEOUT_MS) / 1000))).rows).toHaveLength(1);
    expect(proxy.accepted).toBe(1);
  });

  test.skipIf(engine.name === "postgresql")(
    "is told to the server, so that it keeps no session whose client is gone",
    async () => {
      const waitTimeout = async (statementTimeoutMs?: number) => {
        const own = openDatabase(under.knex, 1, under.tables, statementTimeoutMs);
        try {
          const { rows } = await own.query<{ seconds: number }>("select @@session.wait_timeout as seconds");
          return rows[0]!.seconds;
        } finally {
          await own.close();
        }
      };
      expect(await waitTimeout(90_500)).toBe(91);
      // The pool closes idle connections after 30 s, before the server does.
      expect(await waitTimeout(1000)).toBe(60);
      expect(await waitTimeout()).toBe(28_800);
    },
  );

  test("has all the time in a migration, which waits for another process", async () => {
    const tables = resolveTables({ tablePrefix: "late_" }, under.dialect);
    const options = { knex, ownConnections: 1, tables, writersLock: true, leaseMs: 1000 };
    const [first, second] = [0, 1].map(() => openStore({ ...options, statementTimeoutMs: TIMEOUT_MS }));
    opened.push(first!, second!);
    await first!.migrate();
    // Its tables are there, and not yet its version: the second one has something to do, and waits for the table.
    await under.knex.raw(`delete from ${tables.migrations}`);
    const trx = await under.begin();
    await trx.raw(`insert into ${tables.migrations} (version, name, applied_at) values (1, 'x', ${under.dialect.now})`);
    let isOver = false;
    const migrating = second!.migrate().finally(() => (isOver = true));
    migrating.catch(() => undefined);
    await delay(4 * TIMEOUT_MS);
    expect(isOver).toBe(false);
    await trx.rollback();
    await soon(migrating);
  });
});
