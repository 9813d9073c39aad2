import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import knex, { type Knex } from "knex";
import { describe, inject } from "vitest";
import { queryMysql } from "./servers/mysql.js";
import type { ServerOffer } from "./servers/offer.js";
import { queryPostgres } from "./servers/postgres.js";

/** How long a server may take to notice that a closed connection is gone. */
const goneDeadlineMs = 3_000;

/** A database system that the suite runs on. */
export interface Engine {
  name: "pglite" | "postgresql" | "mariadb" | "mysql";
  /** Knex's name of the SQL dialect. */
  dialect: "pg" | "mysql2";
  /** Set where the engine is not there: why, and how to get it. */
  skipReason: string | undefined;
  /** Makes a database of its own: once per test file. */
  create(): Promise<TestDatabase>;
}

/** An empty database, dropped at `close`. */
export interface TestDatabase {
  knex: Knex;
  /** A second, independent pool on the same database. Undefined on PGlite: it has one session. */
  newKnex: ((overrides?: Partial<Knex.Config>) => Knex) | undefined;
  /** For child processes, and for drivers without knex. Undefined on PGlite: its data lives in this process. */
  connection: { client: "pg" | "mysql2"; url: string } | undefined;
  /**
   * Destroys every knex that this database handed out and drops the database. Throws when a connection to it is still
   * open then: somebody left a pool behind.
   */
  close(): Promise<void>;
}

/** Knex prints warnings on the console unless it is told where to; the tests look at what happens, not at its log. */
const quietLog: Knex.Logger = { warn() {}, error() {}, deprecate() {}, debug() {} };

const pglite: Engine = {
  name: "pglite",
  dialect: "pg",
  skipReason: undefined,
  async create() {
    const [{ createPGlite }, { createPGliteKnex }] = await Promise.all([
      import("./pglite.js"),
      import("../../src/pglite.js"),
    ]);
    const database = await createPGlite();
    const db = createPGliteKnex(database, { log: quietLog });
    return {
      knex: db,
      newKnex: undefined,
      connection: undefined,
      async close() {
        await db.destroy();
        if (!database.closed) await database.close();
      },
    };
  },
};

/** Every engine of the suite, those that are missing with their reason. */
export const engines: Engine[] = [
  pglite,
  serverEngine("postgresql", inject("postgres")),
  serverEngine("mariadb", inject("mysql")),
];

/** `describe`, once per engine; skipped, with the reason in the title, for one that is missing. */
export function describeEachEngine(title: string, suite: (engine: Engine) => void): void {
  for (const engine of engines) {
    if (engine.skipReason === undefined) describe(`${title} [${engine.name}]`, () => suite(engine));
    else describe.skip(`${title} [${engine.name}: ${engine.skipReason}]`, () => suite(engine));
  }
}

function serverEngine(name: "postgresql" | "mariadb", offer: ServerOffer): Engine {
  const dialect = name === "postgresql" ? "pg" : "mysql2";
  if ("missing" in offer) {
    const create = () => Promise.reject(new Error(offer.missing));
    return { name, dialect, skipReason: offer.missing, create };
  }
  return {
    name: offer.flavour,
    dialect,
    skipReason: undefined,
    create: () => createDatabase(dialect, offer.url),
  };
}

async function createDatabase(dialect: "pg" | "mysql2", serverUrl: string): Promise<TestDatabase> {
  const name = `carteiro_test_${randomUUID().replaceAll("-", "").slice(0, 16)}`;
  const admin = dialect === "pg" ? postgresAdmin(serverUrl, name) : mysqlAdmin(serverUrl, name);
  await admin.create();
  const address = new URL(serverUrl);
  address.pathname = `/${name}`;
  const url = address.href;

  const pools: Knex[] = [];
  const newKnex = (overrides?: Partial<Knex.Config>): Knex => {
    const pool = knex({ client: dialect, connection: url, log: quietLog, ...overrides });
    pools.push(pool);
    return pool;
  };
  return {
    knex: newKnex(),
    newKnex,
    connection: { client: dialect, url },
    async close() {
      await Promise.all(pools.map((pool) => pool.destroy()));
      const left = await connectionsLeft(admin);
      await admin.drop();
      if (left.length > 0) {
        throw new Error(
          `${left.length} connection(s) to the test's database are still open after all of its pools were destroyed: ` +
            `close every outbox and knex in the test.\n${left.map((row) => JSON.stringify(row)).join("\n")}`,
        );
      }
    },
  };
}

interface Admin {
  create(): Promise<unknown>;
  connections(): Promise<object[]>;
  /** Cuts off whoever is still connected. */
  drop(): Promise<unknown>;
}

async function connectionsLeft(admin: Admin): Promise<object[]> {
  const deadline = Date.now() + goneDeadlineMs;
  for (;;) {
    const left = await admin.connections();
    if (left.length === 0 || Date.now() > deadline) return left;
    await delay(20);
  }
}

function postgresAdmin(serverUrl: string, name: string): Admin {
  return {
    create: () => queryPostgres(serverUrl, `create database "${name}" template template0`),
    connections: () =>
      queryPostgres(
        serverUrl,
        `select pid, application_name, state, query from pg_stat_activity
          where datname = $1 and backend_type = 'client backend'`,
        [name],
      ),
    drop: () => queryPostgres(serverUrl, `drop database "${name}" with (force)`),
  };
}

function mysqlAdmin(serverUrl: string, name: string): Admin {
  const connections = () =>
    queryMysql<{ id: number }>(
      serverUrl,
      "select id as id, command as command, state as state, info as query from information_schema.processlist where db = ?",
      [name],
    );
  return {
    create: () => queryMysql(serverUrl, `create database ${name}`),
    connections,
    async drop() {
      for (const { id } of await connections()) {
        // It may have gone by itself meanwhile.
        await queryMysql(serverUrl, `kill ${id}`).catch(() => {});
      }
      return queryMysql(serverUrl, `drop database ${name}`);
    },
  };
}
