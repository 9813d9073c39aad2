import knex, { type Knex } from "knex";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createOutbox, type Outbox, type OutboxOptions } from "../../src/index.js";
import { engines } from "../support/databases.js";
import { startMysql } from "../support/servers/mysql.js";
import { startPostgres } from "../support/servers/postgres.js";
import type { TestServer } from "../support/servers/types.js";
import { gate, openGates, until } from "../support/waiting.js";

const quiet = { warn() {}, error() {}, deprecate() {}, debug() {} };

const servers = [
  { name: "postgresql", start: startPostgres, client: "pg" },
  { name: "mariadb", start: startMysql, client: "mysql2" },
] as const;

for (const { name, start, client } of servers) {
  const engine = engines.find((one) => one.dialect === client && one.name !== "pglite")!;
  describe.skipIf(engine.skipReason !== undefined)(`a relayer whose database goes away [${name}]`, () => {
    let server: TestServer;
    let database: Knex;
    let outbox: Outbox;
    let tests = 0;
    const errors: string[] = [];

    beforeAll(async () => {
      server = await start();
      database = knex({ client, connection: server.url, log: quiet, pool: { min: 0, max: 5 } });
    });
    afterAll(async () => {
      await database.destroy();
      await server.stop("immediate");
    });

    afterEach(async () => {
      openGates();
      if (server.pid === undefined) await server.start();
      await outbox.close();
    });

    async function open(options: Partial<OutboxOptions> = {}) {
      errors.length = 0;
      const log = () => {};
      const logger = {
        debug: log,
        info: log,
        warn: log,
        error: (_fields: object, message: string) => void errors.push(message),
      };
      outbox = createOutbox({
        knex: database,
        tablePrefix: `t${++tests}_`,
        logger,
        retry: { initialDelay: 10 },
        ...options,
      });
      await outbox.migrate();
      const ran: string[] = [];
      const publish = outbox.saveToOutbox(async (key: string, n: number) => void ran.push(`${key}${n}`), {
        name: "publish",
        strategy: "keep-order",
        orderingKey: (key) => key,
      });
      return { ran, publish };
    }

    /** Cuts every connection but the one that asks. */
    async function cutConnections(): Promise<void> {
      const administrator = knex({ client, connection: server.url, log: quiet, pool: { min: 0, max: 1 } });
      try {
        if (client === "pg") {
          await administrator.raw(
            "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()",
          );
          return;
        }
        const [sessions] = (await administrator.raw(
          "select id as id from information_schema.processlist where user = 'root' and id <> connection_id()",
        )) as [{ id: number }[]];
        for (const { id } of sessions) await administrator.raw(`kill ${id}`).catch(() => undefined);
      } finally {
        await administrator.destroy();
      }
    }

    it("tries again ever later while it is down, and goes on once it is back", async () => {
      const { ran, publish } = await open();
      await outbox.transaction(() => publish("a", 1));
      const relayer = outbox.startRelayer({ interval: 20 });
      await until("it works", () => ran.length === 1);
      await server.halt("immediate");
      const looks = () => errors.filter((message) => message.startsWith("a relayer could not look for due calls"));
      await until("it has failed three times", () => looks().length >= 3);
      const pauses = looks().map((message) => Number(/again in (\d+) ms/.exec(message)?.[1]));
      expect(pauses.slice(0, 3)).toEqual([40, 80, 160]);
      await server.start();
      await until("a transaction can commit again", () =>
        outbox
          .transaction(() => publish("a", 2))
          .then(
            () => true,
            () => false,
          ),
      );
      await until("the call ran", () => ran.includes("a2"));
      await relayer.stop();
    });

    it("goes on after its connections were cut, and loses nothing", async () => {
      const { ran, publish } = await open({ lease: 2000 });
      const relayer = outbox.startRelayer({ interval: 20 });
      const total = 300;
      for (let n = 1; n <= total; n++) {
        await until("the call is committed", () =>
          outbox
            .transaction(() => publish(n % 2 === 0 ? "a" : "b", n))
            .then(
              () => true,
              () => false,
            ),
        );
        if (n % 60 === 0) await cutConnections();
      }
      await until("all have run", () => new Set(ran).size === total);
      await relayer.stop();
      for (const key of ["a", "b"]) {
        const firsts = [...new Set(ran.filter((call) => call.startsWith(key)))].map((call) => Number(call.slice(1)));
        expect(firsts).toEqual([...firsts].sort((one, other) => one - other));
      }
    });

    it.each(["publish-on-commit", "keep-order"] as const)(
      "settles a %s run that ended while it was down, once it is back, without running it again",
      async (strategy) => {
        const { ran } = await open({ lease: "30s" });
        const opened = gate();
        const slow = outbox.saveToOutbox(
          async () => {
            ran.push("slow");
            await opened.promise;
          },
          { name: "slow", stream: "slow", strategy },
        );
        const published: string[] = [];
        outbox.on("published", ({ call }) => void published.push(call.function));
        const relayer = outbox.startRelayer({ interval: 20 });
        await outbox.transaction(() => slow());
        await until("it runs", () => ran.length === 1);
        await server.halt("immediate");
        opened.resolve();
        await until("the relayer has noticed", () => errors.length > 0);
        expect(published).toEqual([]);
        await server.start();
        await until("it is settled", () => published.length === 1);
        await relayer.stop();
        expect(await outbox.calls.list()).toEqual([]);
        expect(ran).toEqual(["slow"]);
      },
    );
  });
}
