import knexFactory, { type Knex } from "knex";
import { InvalidOptionError } from "../errors.js";
import { type Connection, connectionOf, type Database, retrying, type Tables } from "./database.js";
import type { Dialect } from "./dialect.js";
import { mysql } from "./mysql.js";
import { PLAIN } from "./plain-knex.js";
import { postgres } from "./postgres.js";

const DIALECTS: Readonly<Record<string, Dialect>> = { postgresql: postgres, mysql };

/** @throws {InvalidOptionError} where `knex` is none, or speaks to a database that we do not know */
export function dialectOf(knex: Knex): Dialect {
  const name = typeof knex === "function" ? (knex.client as Partial<ClientParts> | undefined)?.dialect : undefined;
  if (typeof name !== "string") {
    throw new InvalidOptionError("knex", 'must be a knex instance, such as knex({client: "pg", connection})');
  }
  const dialect = DIALECTS[name];
  if (dialect === undefined) {
    throw new InvalidOptionError("knex", `speaks "${name}"; Carteiro knows the clients pg, mysql2 and carteiro/pglite`);
  }
  return dialect;
}

/** What knex's types leave open about its client. */
interface ClientParts {
  dialect: string;
  config: Knex.Config;
  pool: unknown;
  driver: unknown;
  version: string | undefined;
  connectionSettings: unknown;
  /** Set by clients of databases in this process, which have one session: there is nothing to open a second one to. */
  embedded?: boolean;
}

/** How many connections the outbox opens where the user says nothing. */
export function defaultOwnConnections(knex: Knex): number {
  return canOpenConnections(knex) ? 2 : 0;
}

function canOpenConnections(knex: Knex): boolean {
  const { config, embedded } = knex.client as ClientParts;
  return config.connection !== undefined && embedded !== true;
}

/** The outbox's database: connections of its own, or the application's pool where `ownConnections` is 0. */
export function openDatabase(
  knex: Knex,
  ownConnections: number,
  tables: Tables,
): Database & { close(): Promise<void> } {
  const dialect = dialectOf(knex);
  if (ownConnections > 0 && !canOpenConnections(knex)) {
    throw new InvalidOptionError(
      "ownConnections",
      `is ${ownConnections}, but this knex cannot open another connection; give 0`,
    );
  }
  const own = ownConnections > 0 ? separateKnex(knex, ownConnections, dialect) : sharedKnex(knex);
  // A shared connection has the application's isolation level, which only a transaction can override for a while.
  const isSessionOurs = ownConnections > 0 || (knex.client as ClientParts).embedded === true;
  const config: Knex.TransactionConfig = isSessionOurs ? {} : { isolationLevel: "read committed" };
  const inTransaction = <T>(work: (connection: Connection) => Promise<T>) =>
    retrying(dialect, () => own.transaction((trx) => work(connectionOf(trx, dialect)), config));
  const direct = connectionOf(own, dialect);
  return {
    dialect,
    tables,
    query: (sql, bindings) =>
      isSessionOurs
        ? retrying(dialect, () => direct.query(sql, bindings))
        : inTransaction((connection) => connection.query(sql, bindings)),
    transaction: inTransaction,
    async close() {
      if (ownConnections > 0) await own.destroy();
    },
  };
}

type AfterCreate = (connection: unknown, done: (error: Error | null | undefined, connection: unknown) => void) => void;

function separateKnex(knex: Knex, max: number, dialect: Dialect): Knex {
  const { config } = knex.client as ClientParts;
  const users = config.pool?.afterCreate as AfterCreate | undefined;
  const afterCreate: AfterCreate = (connection, done) => {
    const own = connection as RawConnection;
    const finish = (error: Error | null | undefined) => {
      // Knex forgets a connection whose set-up failed, and leaves it open.
      if (error) own.end(() => undefined);
      done(error, connection);
    };
    const setUp = () => runAll(own, dialect.sessionSetup, finish);
    if (users) users(connection, (error) => (error ? finish(error) : setUp()));
    else setUp();
  };
  const connection = dialect.ownConnection(config.connection);
  return knexFactory({ ...config, ...PLAIN, connection, pool: { ...config.pool, min: 0, max, afterCreate } });
}

interface RawConnection {
  query(sql: string, done: (error: Error | null) => void): void;
  end(done: () => void): void;
}

function runAll(
  connection: RawConnection,
  [first, ...rest]: readonly string[],
  done: (error: Error | null) => void,
): void {
  if (first === undefined) return done(null);
  connection.query(first, (error) => (error ? done(error) : runAll(connection, rest, done)));
}

/** The application's pool, seen through settings of our own. */
function sharedKnex(knex: Knex): Knex {
  const { config, pool, driver, version, connectionSettings } = knex.client as ClientParts;
  const apart = { connection: undefined, connectionPool: undefined, version };
  const shared = knexFactory({ ...config, ...PLAIN, ...apart } as Knex.Config);
  Object.assign(shared.client as ClientParts, { pool, driver, connectionSettings });
  return shared;
}
