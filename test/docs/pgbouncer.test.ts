import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { OutboxOptions } from "../../src/index.js";
import { findPgbouncer, pgbouncerMissing, startPgbouncer, type TestPooler } from "../support/servers/pgbouncer.js";
import { findPostgres, postgresMissing, queryPostgres, startPostgres } from "../support/servers/postgres.js";
import type { TestServer } from "../support/servers/types.js";
import { until } from "../support/waiting.js";
import { useServices } from "./services.js";

const missing = [
  ...(findPostgres() === undefined ? [postgresMissing] : []),
  ...(findPgbouncer() === undefined ? [pgbouncerMissing] : []),
].join(" ");
if (missing && process.env.CI) throw new Error(`CI is set, so nothing may be missing. ${missing}`);
if (missing) console.warn(`${missing} The tests behind PgBouncer are skipped.`);

const SERVER_CONNECTIONS = 3;

describe.skipIf(missing !== "")("behind PgBouncer in transaction mode", () => {
  let postgres: TestServer;
  let pooler: TestPooler;
  const openService = useServices();

  beforeAll(async () => {
    postgres = await startPostgres();
    pooler = await startPgbouncer(postgres, SERVER_CONNECTIONS);
  }, 120_000);
  afterAll(async () => {
    await pooler?.stop();
    await postgres?.stop("immediate");
  });

  async function open(options: Partial<OutboxOptions>) {
    const failed = new Set<string>();
    const service = openService({ client: "pg", connection: pooler.url }, options, (what, ran) => {
      const isDown = ran.length % 7 === 3 && !failed.has(what);
      if (isDown) failed.add(what);
      return isDown;
    });
    await service.outbox.migrate();
    return { ...service, failed };
  }

  /** Of the sessions behind the pooler, as whoever gets them next finds them. */
  async function isolationLevels(): Promise<string[]> {
    const look =
      "select current_setting('default_transaction_isolation') as level, pg_backend_pid() as pid, pg_sleep(0.1)";
    const answers = await Promise.all(
      Array.from({ length: 2 * SERVER_CONNECTIONS }, () =>
        queryPostgres<{ level: string; pid: number }>(pooler.url, look),
      ),
    );
    return [...new Map(answers.map(([row]) => [row!.pid, row!.level])).values()];
  }

  async function endSessions(): Promise<void> {
    const end = `select pg_terminate_backend(pid) from pg_stat_activity
      where pid <> pg_backend_pid() and backend_type = 'client backend'`;
    await queryPostgres(postgres.url, end);
  }

  it.each([2, 0])("all of it works, with ownConnections: %i", async (ownConnections) => {
    const { outbox, ran, failed, send, publish } = await open({ ownConnections, tablePrefix: `own${ownConnections}_` });
    outbox.startRelayer();
    await Promise.all(
      Array.from({ length: 8 }, async (_, writer) => {
        for (let n = 0; n < 10; n++) {
          await outbox.transaction(async () => {
            await send(writer * 10 + n);
            await publish("abcd"[writer % 4]!, writer * 10 + n);
          });
        }
      }),
    );
    const operator = await open({ ownConnections, tablePrefix: `own${ownConnections}_` });
    await operator.outbox.keys.park({ stream: "orders", orderingKey: "a" });
    await operator.outbox.streams.pause("orders");
    expect(await operator.outbox.streams.resume("orders")).toEqual({ resumed: true });
    expect(await operator.outbox.keys.resume({ stream: "orders", orderingKey: "a" })).toEqual({ resumed: true });
    await until("all have run", async () => (await outbox.calls.list({ limit: 1 })).length === 0);
    expect(new Set(ran).size).toBe(160);
    expect(ran).toHaveLength(160);
    expect(failed.size).toBeGreaterThan(0);
  });

  it("NOTIFY does not arrive: that is told once, and what others commit is found by polling", async () => {
    const warnings: string[] = [];
    const logger = { debug() {}, info() {}, warn: (_: object, line: string) => void warnings.push(line), error() {} };
    const [relaying, saving] = [await open({ logger, tablePrefix: "deaf_" }), await open({ tablePrefix: "deaf_" })];
    relaying.outbox.startRelayer();
    await saving.outbox.transaction(() => saving.publish("a", 1));
    await until("it ran", () => relaying.ran.length === 1);
    await until("it is told", () => warnings.length > 0);
    await saving.outbox.transaction(() => saving.publish("a", 2));
    await until("the next one ran, too", () => relaying.ran.length === 2);
    expect(warnings).toEqual([expect.stringMatching(/PgBouncer in transaction mode.*wakeUps: \{ notify: false \}/)]);
  });

  it.each([true, false])(
    "with prepareStatements: %s all runs, and only what was prepared is told",
    async (prepareStatements) => {
      const warnings: string[] = [];
      const logger = { debug() {}, info() {}, warn: (_: object, line: string) => void warnings.push(line), error() {} };
      const options = { logger, prepareStatements, ownConnections: 6, wakeUps: { notify: false } };
      const { outbox, ran, send, publish } = await open({ ...options, tablePrefix: `prepared_${prepareStatements}_` });
      outbox.startRelayer();
      await Promise.all(
        Array.from({ length: 8 }, async (_, writer) => {
          for (let n = 0; n < 20; n++) {
            await outbox.transaction(async () => {
              await send(writer * 20 + n);
              await publish("abcd"[writer % 4]!, writer * 20 + n);
            });
          }
        }),
      );
      await until("all have run", async () => (await outbox.calls.list({ limit: 1 })).length === 0);
      expect(ran).toHaveLength(320);
      const told = warnings.filter((line) => line.includes("prepareStatements: false"));
      expect(told).toHaveLength(prepareStatements ? 1 : 0);
    },
  );

  it("a session's isolation level stays behind, for others too, unless ownConnections is 0", async () => {
    await queryPostgres(postgres.url, "alter database postgres set default_transaction_isolation = 'repeatable read'");
    await endSessions();
    const shared = await open({ ownConnections: 0, tablePrefix: "shared_" });
    await shared.outbox.transaction(() => shared.send(1));
    await shared.outbox.idle();
    await shared.outbox.relay();
    expect(new Set(await isolationLevels())).toEqual(new Set(["repeatable read"]));
    const own = await open({ ownConnections: 2, tablePrefix: "own_" });
    await own.outbox.transaction(() => own.send(1));
    await own.outbox.idle();
    expect(await isolationLevels()).toContain("read committed");
  });
});
