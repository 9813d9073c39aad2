import knexFactory, { type Knex } from "knex";
import { InvalidOptionError } from "../errors.js";
import {
  type Connection,
  connectionOf,
  type Database,
  pooled,
  retrying,
  type Tables,
  transacting,
} from "./database.js";
import type { Dialect } from "./dialect.js";
import { mysql } from "./mysql.js";
import { PLAIN } from "./plain-knex.js";
import { postgres } from "./postgres.js";
import type { PreparedNames } from "./prepared-names.js";
import { type RawConnection, withLimits } from "./statement-timeout.js";

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
  const { config } = knex.client as ClientParts;
  return config.connection !== undefined && !isEmbedded(knex);
}

/** The database is in this process, and has one session. */
export function isEmbedded(knex: Knex): boolean {
  return (knex.client as ClientParts).embedded === true;
}

/**
 * The outbox's database: connections of its own, or the application's pool where `ownConnections` is 0.
 *
 * @param statementTimeoutMs for each statement on connections of our own (Default: none)
 * @param names for what is prepared on these (Default: nothing is)
 */
export function openDatabase(
  knex: Knex,
  ownConnections: number,
  tables: Tables,
  statementTimeoutMs?: number,
  names?: PreparedNames,
): Database & { close(): Promise<void> } {
  const dialect = dialectOf(knex);
  if (ownConnections > 0 && !canOpenConnections(knex)) {
    throw new InvalidOptionError(
      "ownConnections",
      `is ${ownConnections}, but this knex cannot open another connection; give 0`,
    );
  }
  const setUp = [...dialect.sessionSetup(statementTimeoutMs), ...((names && dialect.prepared?.sessionSetup) ?? [])];
  const own =
    ownConnections > 0
      ? separateKnex(knex, ownConnections, dialect, { statementMs: statementTimeoutMs, setUp })
      : sharedKnex(knex);
  const isMended = (error: unknown) => names !== undefined && isNameMended(error, names, dialect);
  // A shared connection has the application's isolation level, which only a transaction can override for a while.
  const isSessionOurs = ownConnections > 0 || isEmbedded(knex);
  const transact = isSessionOurs ? transacting(own, dialect, names) : readCommitted(own, dialect, names);
  const inTransaction = <T>(work: (connection: Connection) => Promise<T>) =>
    retrying(dialect, () => transact(work), isMended);
  const direct = pooled(own, dialect, names);
  return {
    dialect,
    tables,
    query: (sql, bindings) =>
      isSessionOurs
        ? retrying(dialect, () => direct.query(sql, bindings), isMended)
        : inTransaction((connection) => connection.query(sql, bindings)),
    transaction: inTransaction,
    async close() {
      if (ownConnections > 0) await own.destroy();
    },
  };
}

/** Transactions at that level, whatever the session's is. */
function readCommitted(knex: Knex, dialect: Dialect, names: PreparedNames | undefined) {
  return async <T>(work: (connection: Connection) => Promise<T>): Promise<T> => {
    let failure: { error: unknown } | undefined;
    const remembered = (error: unknown) => {
      failure = { error };
      throw error;
    };
    try {
      const isolationLevel = "read committed";
      return await knex.transaction((trx) => work(connectionOf(trx, dialect, names)).catch(remembered), {
        isolationLevel,
      });
    } catch (error) {
      // On a broken connection the ROLLBACK fails too, and its error says nothing of what went wrong.
      throw failure ? failure.error : error;
    }
  };
}

/** @returns whether the same can be sent again, without the name that was the matter */
function isNameMended(error: unknown, names: PreparedNames, dialect: Dialect): boolean {
  const trouble = dialect.prepared?.troubleOf(error);
  if (trouble === "foreign") names.turnOff();
  if (trouble === "outdated") names.renew();
  return trouble !== undefined;
}

type AfterCreate = (connection: unknown, done: (error: Error | null | undefined, connection: unknown) => void) => void;

/** The pool's own, where the application has not set another. */
const CREATE_TIMEOUT_MS = 30_000;

interface SeparateOptions {
  /** For each statement; undefined for none. */
  statementMs: number | undefined;
  /** The statements that each session begins with. (Default: none) */
  setUp?: readonly string[];
}

/** A pool beside the application's, with its settings, and limits of our own. */
export function separateKnex(
  knex: Knex,
  max: number,
  dialect: Dialect,
  { statementMs, setUp = [] }: SeparateOptions,
): Knex {
  const { config } = knex.client as ClientParts;
  const users = config.pool?.afterCreate as AfterCreate | undefined;
  const afterCreate: AfterCreate = (connection, done) => {
    const own = connection as RawConnection;
    const finish = (error: Error | null | undefined) => {
      // Knex forgets a connection whose set-up failed, and leaves it open.
      if (error) own.end(() => undefined);
      done(error, connection);
    };
    const begin = () => runAll(own, setUp, finish);
    if (users) users(connection, (error) => (error ? finish(error) : begin()));
    else begin();
  };
  const connection = dialect.ownConnection(config.connection);
  const own = knexFactory({ ...config, ...PLAIN, connection, pool: { ...config.pool, min: 0, max, afterCreate } });
  const client = own.client as ClientParts;
  const connectMs = config.pool?.createTimeoutMillis ?? CREATE_TIMEOUT_MS;
  client.driver = withLimits(client.driver, dialect, { statementMs, connectMs });
  return own;
}

function runAll(
  connection: RawConnection,
  [first, ...rest]: readonly string[],
  done: (error: Error | null) => void,
): void {
  if (first === undefined) return done(null);
  connection.query(first, (error: Error | null) => (error ? done(error) : runAll(connection, rest, done)));
}

/** The application's pool, seen through settings of our own. */
function sharedKnex(knex: Knex): Knex {
  const { config, pool, driver, version, connectionSettings } = knex.client as ClientParts;
  const apart = { connection: undefined, connectionPool: undefined, version };
  const shared = knexFactory({ ...config, ...PLAIN, ...apart } as Knex.Config);
  Object.assign(shared.client as ClientParts, { pool, driver, connectionSettings });
  return shared;
}
