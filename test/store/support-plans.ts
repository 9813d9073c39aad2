import type { Knex } from "knex";
import { connectionOf, type Database } from "../../src/store/database.js";
import { databaseIn, type StoreUnderTest } from "./support.js";

/** What a statement did that it must not do to a large table, and how much it read of it. */
export interface Watched {
  database: Database;
  /** Statements whose plan reads all calls. */
  scans: string[];
  /** Statements that read more rows than that, with how many. */
  floods: string[];
}

/** The store's statements in a transaction: each is explained before it is run, and the rows that it reads are counted. */
export function watched(under: StoreUnderTest, trx: Knex.Transaction, most: number): Watched {
  const to = databaseIn(under, trx);
  const { scans, floods }: Omit<Watched, "database"> = { scans: [], floods: [] };
  const query: Database["query"] = async (sql, bindings) => {
    if (await isScan(to, sql, bindings)) scans.push(sql);
    const before = await rowsRead(to);
    const result = await to.query<never>(sql, bindings);
    const read = (await rowsRead(to)) - before;
    // MySQL counts a row again where it is put into a temporary table, and where it is read from there.
    if (read > (to.dialect.family === "mysql" ? 2 * most : most)) floods.push(`${read} rows: ${sql}`);
    return result;
  };
  return { database: { ...to, query, transaction: (work) => work({ query }) }, scans, floods };
}

async function isScan({ dialect, query }: Database, ...[sql, bindings]: Parameters<Database["query"]>) {
  if (dialect.family === "postgres") {
    const { rows } = await query<{ "QUERY PLAN": unknown }>(`explain (format json) ${sql}`, bindings);
    return hasSequentialScan(rows[0]!["QUERY PLAN"]);
  }
  return (await query<MysqlStep>(`explain ${sql}`, bindings)).rows.some(isMysqlScan);
}

/** As the server has counted them: on PostgreSQL those of calls alone, on MySQL all, of this transaction or session. */
async function rowsRead({ dialect, query }: Database): Promise<number> {
  const { rows } =
    dialect.family === "postgres"
      ? await query<{ rows_read: string }>(
          "select seq_tup_read + coalesce(idx_tup_fetch, 0) as rows_read from pg_stat_xact_user_tables where relname = 'carteiro_calls'",
        )
      : await query<{ rows_read: string }>(
          `select sum(variable_value) as rows_read from ${await statusTable(query)} where variable_name like 'Handler_read%'`,
        );
  return Number(rows[0]?.rows_read ?? 0);
}

let mysqlStatus: string | undefined;

/** MariaDB has it in one place, MySQL in another. */
async function statusTable(query: Database["query"]): Promise<string> {
  if (mysqlStatus !== undefined) return mysqlStatus;
  const { rows } = await query<{ version: string }>("select version() as version");
  const schema = rows[0]!.version.includes("MariaDB") ? "information_schema" : "performance_schema";
  return (mysqlStatus = `${schema}.session_status`);
}

function hasSequentialScan(plan: unknown): boolean {
  if (Array.isArray(plan)) return plan.some(hasSequentialScan);
  if (plan === null || typeof plan !== "object") return false;
  const node = plan as Record<string, unknown>;
  if (node["Node Type"] === "Seq Scan" && node["Relation Name"] === "carteiro_calls") return true;
  return Object.values(node).some(hasSequentialScan);
}

interface MysqlStep {
  select_type: string;
  table: string | null;
  type: string | null;
}

/** Tables of calls go by these names in our statements. An index may be read from its end: how far is counted. */
function isMysqlScan({ select_type: kind, table, type }: MysqlStep): boolean {
  if (kind === "INSERT") return false;
  return ["c", "d", "h", "carteiro_calls"].includes(table ?? "") && type === "ALL";
}

/** Calls in every state, over seven streams and 300 keys each; the keys of held calls stand aside. */
export async function fill({ select, dialect, tables, knex }: StoreUnderTest, calls: number): Promise<void> {
  const isPostgres = dialect.family === "postgres";
  const digits = Array.from({ length: 10 }, (_, n) => `select ${n} as n`).join(" union all ");
  const tens = isPostgres ? "(n / 10)" : "(n div 10)";
  const text = (prefix: string, expression: string) =>
    isPostgres ? `'${prefix}' || (${expression})` : `concat('${prefix}', ${expression})`;
  const key = text("key ", `${tens} % 300`);
  const state =
    "case when n % 10 in (0, 1, 2, 5) then 'sent' when n % 10 = 3 then 'dead' when n % 10 in (7, 8) then 'held' else 'pending' end";
  await select(
    `insert into ${tables.calls} (id, function_name, stream, strategy, ordering_key, state, due_at, codec, version, headers, payload, created_at, settled_at)
     select ${isPostgres ? "gen_random_uuid()" : "uuid()"}, 'send', ${text("stream ", `${tens} % 7`)},
       case when n % 10 in (5, 6, 7, 8) then 'keep-order' else 'publish-on-commit' end,
       ${isPostgres ? `convert_to(${key}, 'UTF8')` : key}, ${state},
       ${dialect.after("(case when n % 3 = 0 then 1000 else -1000 end) * n")}, 'superjson', 1, '{}', '${"x".repeat(200)}',
       ${dialect.after("-1000 * n")}, case when n % 10 in (0, 1, 2, 3, 5) then ${dialect.after("-1000 * n")} end
     from (select a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n as n
       from (${digits}) a, (${digits}) b, (${digits}) c, (${digits}) d, (${digits}) e) numbers where n < ${calls}`,
  );
  await select(
    `insert into ${tables.keys} (stream, ordering_key, state, due_at, since)
     select stream, ordering_key, 'blocked', min(due_at), ${dialect.now} from ${tables.calls} where state = 'held' group by stream, ordering_key`,
  );
  // Not in a transaction, and as one statement each.
  for (const table of [tables.calls, tables.keys]) {
    await connectionOf(knex, dialect).query(isPostgres ? `vacuum analyze ${table}` : `analyze table ${table}`);
  }
}
