import knexFactory, { type Knex } from "knex";
import { afterAll, beforeAll, describe } from "vitest";
import { engines } from "../support/databases.js";
import { queryMysql, startMysql } from "../support/servers/mysql.js";
import { queryPostgres, startPostgres } from "../support/servers/postgres.js";
import type { StartOptions, TestServer } from "../support/servers/types.js";

/** A server that a suite may stop and break. */
export interface PrivateServer {
  readonly client: "pg" | "mysql2";
  readonly server: TestServer;
  readonly url: string;
  /** As a superuser, on a connection of its own. */
  ask<Row extends object>(sql: string, bindings?: unknown[]): Promise<Row[]>;
  /** Another pool on the same database. */
  pool(overrides?: Partial<Knex.Config>): Knex;
  /** Its sessions, those of `ask` left out. */
  sessions(): Promise<number[]>;
  end(session: number): Promise<void>;
}

const kinds = [
  { client: "pg", name: "postgresql", start: startPostgres },
  { client: "mysql2", name: "mariadb", start: startMysql },
] as const;

const quiet = { warn() {}, error() {}, deprecate() {}, debug() {} };

/** `describe`, once per database server, each with a server of its own. */
export function describeEachPrivateServer(
  title: string,
  suite: (under: PrivateServer) => void,
  options: Partial<Record<"pg" | "mysql2", StartOptions>> = {},
): void {
  for (const { client, name, start } of kinds) {
    const { skipReason } = engines.find((one) => one.dialect === client && one.name !== "pglite")!;
    describe.skipIf(skipReason !== undefined)(`${title} [${name}]`, () => {
      let server: TestServer;
      beforeAll(async () => void (server = await start(options[client])));
      // A server that did not start leaves nothing to stop.
      afterAll(() => (server as TestServer | undefined)?.stop("immediate"));
      suite(underTest(client, () => server));
    });
  }
}

function underTest(client: "pg" | "mysql2", server: () => TestServer): PrivateServer {
  const ask = <Row extends object>(sql: string, bindings?: unknown[]) =>
    client === "pg" ? queryPostgres<Row>(server().url, sql, bindings) : queryMysql<Row>(server().url, sql, bindings);
  return {
    client,
    get server() {
      return server();
    },
    get url() {
      return server().url;
    },
    ask,
    pool: (overrides = {}) =>
      knexFactory({ client, connection: server().url, log: quiet, pool: { min: 0, max: 8 }, ...overrides }),
    async sessions() {
      const rows = await ask<{ id: number }>(
        client === "pg"
          ? "select pid as id from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
          : "select id as id from information_schema.processlist where id <> connection_id() and user not in ('system user', 'event_scheduler')",
      );
      return rows.map(({ id }) => id);
    },
    async end(session) {
      // MariaDB refuses where it is gone by itself.
      await ask(client === "pg" ? `select pg_terminate_backend(${session})` : `kill ${session}`).catch(() => undefined);
    },
  };
}
