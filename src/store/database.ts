import type { Knex } from "knex";
import { NotMigratedError } from "../errors.js";
import type { Dialect } from "./dialect.js";
import { plainClient, withoutArguments } from "./plain-knex.js";
import type { PreparedNames } from "./prepared-names.js";

export type Binding = string | number | boolean | Buffer | null | readonly Binding[];

/** SQL with `?` for each binding. */
export interface Sql {
  sql: string;
  bindings: readonly Binding[];
}

export interface Result<Row> {
  rows: Row[];
  /** Rows that the statement touched, or returned. */
  count: number;
}

/** Sends single statements. */
export interface Connection {
  query<Row>(sql: string, bindings?: readonly Binding[]): Promise<Result<Row>>;
}

/** The outbox's own way to the database: every statement at READ COMMITTED, tried again where it met a deadlock. */
export interface Database extends Connection {
  dialect: Dialect;
  tables: Tables;
  transaction<T>(work: (connection: Connection) => Promise<T>): Promise<T>;
}

/** The tables' names, quoted and qualified. */
export interface Tables {
  calls: string;
  keys: string;
  streams: string;
  writers: string;
  migrations: string;
  /** Unquoted: what the migrations and the lock names are built from. */
  schema: string | undefined;
  prefix: string;
}

/**
 * Statements on a connection, or in a transaction.
 *
 * @param names for what is prepared; only on connections of our own (Default: nothing is)
 */
export function connectionOf(trx: Knex, dialect: Dialect, names?: PreparedNames): Connection {
  const client = plainClient(trx);
  return answering(client, dialect, names, (sql, bindings, name) => {
    const raw = client.raw(sql, bindings as Knex.RawBinding[]) as Knex.Raw;
    return name === undefined ? raw : raw.options({ name });
  });
}

/**
 * Statements each on whichever connection of a pool is free. A wake-up waits for what is done here before a statement is sent:
 * by knex's `raw` that took 0.18 ms where little is sent, and so takes 0.10 (seen).
 */
export function pooled(knex: Knex, dialect: Dialect, names?: PreparedNames): Connection {
  const client = plainClient(knex) as Knex.Client & QueryingClient;
  return answering(client, dialect, names, async (sql, bindings, name) => {
    const connection: unknown = await client.acquireConnection();
    try {
      return await answerOn(connection, client, sql, bindings, name);
    } finally {
      await client.releaseConnection(connection);
    }
  });
}

/** Statements on a connection that was taken out of the pool of `knex`. */
export function alone(connection: unknown, knex: Knex, dialect: Dialect, names: PreparedNames): Connection {
  const client = plainClient(knex) as Knex.Client & QueryingClient;
  return answering(client, dialect, names, (...statement) => answerOn(connection, client, ...statement));
}

/**
 * Transactions each on a connection of a pool, in sessions whose isolation level is ours: a transaction of knex's takes twice
 * as long in this process (seen: 0.41 ms to settle one call on MariaDB, like this 0.21).
 */
export function transacting(knex: Knex, dialect: Dialect, names?: PreparedNames) {
  const client = plainClient(knex) as Knex.Client & QueryingClient;
  return async <T>(work: (connection: Connection) => Promise<T>): Promise<T> => {
    const raw = (await client.acquireConnection()) as { __knex__disposed?: unknown };
    const connection = answering(client, dialect, names, (...statement) => answerOn(raw, client, ...statement));
    try {
      await connection.query("BEGIN");
      const result = await work(connection);
      await connection.query("COMMIT");
      return result;
    } catch (error) {
      // The pool gives out no connection that may still be in a transaction. Of a broken one the first error says what went wrong.
      await connection.query("ROLLBACK").catch((failure: unknown) => (raw.__knex__disposed = failure));
      throw error;
    } finally {
      await client.releaseConnection(raw);
    }
  };
}

async function answerOn(
  connection: unknown,
  client: QueryingClient,
  sql: string,
  bindings: readonly Binding[],
  name: string | undefined,
): Promise<unknown> {
  const query = { sql, bindings: [...bindings], ...(name !== undefined && { options: { name } }) };
  return (await client.query(connection, query)).response;
}

/** What knex's types leave open about its client. */
interface QueryingClient {
  query(
    connection: unknown,
    query: { sql: string; bindings: unknown[]; options?: { name: string } },
  ): Promise<{ response: unknown }>;
}

function answering(
  client: Knex.Client,
  dialect: Dialect,
  names: PreparedNames | undefined,
  send: (sql: string, bindings: readonly Binding[], name: string | undefined) => PromiseLike<unknown>,
): Connection {
  return {
    async query<Row>(sql: string, bindings: readonly Binding[] = []) {
      try {
        const answer = await send(sql, bindings, names?.nameOf(sql, bindings));
        names?.answered(sql);
        return dialect.result<Row>(answer);
      } catch (caught) {
        const error = withoutArguments(caught, client, sql, bindings);
        throw dialect.isUnmigrated(error) ? notMigrated(error) : error;
      }
    },
  };
}

export function notMigrated(cause: unknown): NotMigratedError {
  return new NotMigratedError(
    "Carteiro's tables are missing, or older than this release needs: run `npx carteiro migrate`, or await outbox.migrate() when your service starts",
    { cause },
  );
}

const ATTEMPTS = 6;

/**
 * Runs a unit of our own again when the database chose it as a deadlock's victim or could not serialise it. Units are
 * short and fenced, so that a second try after an unknown end changes nothing that it should not.
 *
 * @param isMended whether the next try does what this one could not (Default: never)
 */
export async function retrying<T>(
  dialect: Dialect,
  unit: () => Promise<T>,
  isMended: (error: unknown) => boolean = () => false,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await unit();
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
      if (isMended(error)) continue;
      if (!dialect.isContention(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10 * 2 ** attempt));
    }
  }
}
