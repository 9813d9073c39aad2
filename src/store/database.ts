import type { Knex } from "knex";
import { NotMigratedError } from "../errors.js";
import type { Dialect } from "./dialect.js";
import { plainClient, withoutArguments } from "./plain-knex.js";

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

/** Statements in a transaction that somebody else began. */
export function connectionOf(trx: Knex, dialect: Dialect): Connection {
  const client = plainClient(trx);
  return {
    async query<Row>(sql: string, bindings: readonly Binding[] = []) {
      try {
        const answer: unknown = await client.raw(sql, bindings as Knex.RawBinding[]);
        return dialect.result<Row>(answer);
      } catch (caught) {
        const error = withoutArguments(caught, client, sql, bindings);
        throw dialect.isUnmigrated(error) ? notMigrated(error) : error;
      }
    },
  };
}

function notMigrated(cause: unknown): NotMigratedError {
  return new NotMigratedError(
    "Carteiro's tables are missing, or older than this release needs: run `npx carteiro migrate`, or await outbox.migrate() when your service starts",
    { cause },
  );
}

const ATTEMPTS = 6;

/**
 * Runs a unit of our own again when the database chose it as a deadlock's victim or could not serialise it. Units are
 * short and fenced, so that a second try after an unknown end changes nothing that it should not.
 */
export async function retrying<T>(dialect: Dialect, unit: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await unit();
    } catch (error) {
      if (attempt === ATTEMPTS || !dialect.isContention(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10 * 2 ** attempt));
    }
  }
}
