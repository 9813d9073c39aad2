import type { Knex } from "knex";
import { connectionOf, type Connection, type Database, type Result } from "../../src/store/database.js";
import type { Dialect } from "../../src/store/dialect.js";
import { resolveTables } from "../../src/store/tables.js";

/** How many rows the statements of some work look at, in a transaction that is rolled back. */
export async function examinedRows(
  knex: Knex,
  dialect: Dialect,
  tablePrefix: string,
  work: (db: Database) => Promise<unknown>,
): Promise<number> {
  const trx = await knex.transaction(undefined, { isolationLevel: "read committed" });
  try {
    const connection = connectionOf(trx, dialect);
    let examined = 0;
    const count = dialect.family === "postgres" ? countByPlan : countByCounters;
    const query = async <Row>(...statement: Parameters<Connection["query"]>): Promise<Result<Row>> => {
      const counted = await count<Row>(connection, statement);
      examined += counted.examined;
      return counted.result;
    };
    await work({
      dialect,
      tables: resolveTables({ tablePrefix }, dialect),
      query,
      transaction: (inner) => inner({ query }),
    });
    return examined;
  } finally {
    await trx.rollback();
  }
}

interface Counted<Row> {
  result: Result<Row>;
  examined: number;
}

type Statement = Parameters<Connection["query"]>;

async function countByPlan<Row>(connection: Connection, [sql, bindings]: Statement): Promise<Counted<Row>> {
  const { rows } = await connection.query<{ "QUERY PLAN": unknown }>(`explain (analyze, format json) ${sql}`, bindings);
  return { result: await connection.query<Row>(sql, bindings), examined: rowsOf(rows[0]!["QUERY PLAN"]) };
}

function rowsOf(plan: unknown): number {
  if (Array.isArray(plan)) return plan.reduce((sum: number, one) => sum + rowsOf(one), 0);
  if (plan === null || typeof plan !== "object") return 0;
  const node = plan as Record<string, unknown>;
  const below = Object.values(node).reduce((sum: number, one) => sum + rowsOf(one), 0);
  if (typeof node["Relation Name"] !== "string") return below;
  const given = Number(node["Actual Rows"]) + Number(node["Rows Removed by Filter"] ?? 0);
  return below + given * Number(node["Actual Loops"]);
}

/** What the storage engine was asked for by this session. */
async function countByCounters<Row>(connection: Connection, [sql, bindings]: Statement): Promise<Counted<Row>> {
  const before = await readCounters(connection);
  const result = await connection.query<Row>(sql, bindings);
  return { result, examined: (await readCounters(connection)) - before };
}

async function readCounters(connection: Connection): Promise<number> {
  const { rows } = await connection.query<{ Variable_name: string; Value: string }>(
    "show session status where variable_name in ('Handler_read_key', 'Handler_read_next', 'Handler_read_prev', 'Handler_read_first', 'Handler_read_last')",
  );
  return rows.reduce((sum, { Value }) => sum + Number(Value), 0);
}
