import type { Knex } from "knex";

/** A statement that was answered. */
export interface WatchedStatement {
  sql: string;
  ms: number;
  /** Rows that it wrote. */
  written: number;
}

interface Query {
  sql: string;
  response?: unknown;
}
type ClientClass = new (config: Knex.Config) => { _query(connection: unknown, query: Query): Promise<unknown> };

/** The client of `knex` as a class that tells its statements: also those of the knexes that an outbox makes of it. */
export function watchedClient(knex: Knex, told: (statement: WatchedStatement) => void): typeof Knex.Client {
  const Base = (knex.client as object).constructor as ClientClass;
  class Watched extends Base {
    override async _query(connection: unknown, query: Query): Promise<unknown> {
      const from = performance.now();
      const answer = await super._query(connection, query);
      told({ sql: query.sql, ms: performance.now() - from, written: writtenRows(query.response) });
      return answer;
    }
  }
  return Watched as unknown as typeof Knex.Client;
}

/** Of pg's answer, or mysql2's. */
function writtenRows(response: unknown): number {
  if (Array.isArray(response)) return (response[0] as { affectedRows?: number } | undefined)?.affectedRows ?? 0;
  const { command, rowCount } = response as { command?: string; rowCount?: number | null };
  return ["INSERT", "UPDATE", "DELETE"].includes(command ?? "") ? (rowCount ?? 0) : 0;
}
