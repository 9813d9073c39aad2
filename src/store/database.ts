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
  return {
    async query<Row>(sql: string, bindings: readonly Binding[] = []) {
      try {
        const raw = client.raw(sql, bindings as Knex.RawBinding[]) as Knex.Raw;
        const name = names?.nameOf(sql, bindings);
        const answer: unknown = await (name === undefined ? raw : raw.options({ name }));
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
