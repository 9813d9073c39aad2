import type { Binding, Connection, Result, Sql } from "./database.js";
import { type CallLease, type ColumnType, type Dialect, type Seq, seqsByToken } from "./dialect.js";
import { notifications } from "./postgres-notifications.js";
import type { RawConnection, RawSocket } from "./statement-timeout.js";

const TYPES: Readonly<Record<ColumnType, string>> = {
  seq: "bigint",
  text: "text",
  int: "integer",
  ms: "double precision",
  uuid: "uuid",
  bytes: "bytea",
};

const CONTENTION = new Set(["40001", "40P01", "55P03"]);

/** Of claims whose calls one statement names apart. */
const MOST_TOKENS = 4;

export const postgres: Dialect = {
  family: "postgres",
  returning: true,
  joinsRows: true,
  momentType: "timestamptz",
  text: (value) => ({ sql: "?::text", binding: value }),
  now: "now()",
  clock: "clock_timestamp()",
  quote: (identifier) => `"${identifier.replaceAll('"', '""')}"`,
  after: (milliseconds, from = "now()") => `${from} + ${milliseconds} * interval '1 millisecond'`,
  moment: (milliseconds) => `to_timestamp(${milliseconds}::double precision / 1000)`,
  never: "timestamptz '9999-12-31 00:00:00+00'",
  // Not extract(): that counts in numerics, and takes three times as long (seen: 0.39 µs a row, against 0.13).
  epochMs: (expression) => `date_part('epoch', ${expression}) * 1000`,
  elapsedMs: (from, to) => `(extract(epoch from ${to} - ${from}) * 1000)::double precision`,
  joined: (expression) => `string_agg(${expression}::text, ',')`,
  contains: (column, text) => ({ sql: `strpos(${column}, ?) > 0`, binding: text }),
  among: (column) => `${column} = any(?)`,

  // The driver takes twice as long for bytes as for a text (seen: 1.3 µs a row, against 0.7).
  keyColumn: (column) => `encode(${column}, 'escape')`,
  keyName: (value) => unescaped(value as string),
  // As one text: of a list the driver escapes each element (seen: 0.10 µs for each, against 0.02).
  seqs: (seqs) => `{${seqs.join(",")}}`,

  // A condition for each token is planned in half the time that a list of pairs takes (seen, of ten calls: 0.27 ms for a settle,
  // against 0.45).
  held(alias, leases: readonly CallLease[]) {
    const byToken = [...seqsByToken(leases)];
    if (byToken.length > MOST_TOKENS) return heldInPairs(alias, byToken);
    const one = `(${alias}.seq = any(?::bigint[]) and ${alias}.lease_id = ?)`;
    return {
      sql: `(${byToken.map(() => one).join(" or ")})`,
      bindings: byToken.flatMap(([token, seqs]) => [postgres.seqs(seqs), token]),
    };
  },

  rowset(alias, columns, rows: readonly (readonly Binding[])[]) {
    const names = Object.keys(columns);
    const arrays = Object.values(columns).map((type) => `?::${TYPES[type]}[]`);
    return {
      sql: `unnest(${arrays.join(", ")}) as ${alias}(${names.join(", ")})`,
      bindings: names.map((_, index) => rows.map((row) => row[index] ?? null)),
    };
  },

  insertsRowsets: true,

  // One step in the index per stream, however many calls each has. The offset keeps the planner from a join, which
  // would read all that is pending.
  streamsOf(table, texts, isDue) {
    const where = ["true", ...Object.entries(texts).map(([column, text]) => `${column} = '${text}'`)].join(" and ");
    const due = `and exists (select from ${table} d where ${where} and d.stream = s.stream and d.due_at <= now()
      and (d.lease_until is null or d.lease_until <= now()) offset 0)`;
    return `with recursive s as (
        (select stream from ${table} where ${where} order by stream limit 1)
        union all
        select (select stream from ${table} where ${where} and stream > s.stream order by stream limit 1)
        from s where s.stream is not null
      )
      select stream from s where stream is not null ${isDue ? due : ""}`;
  },

  // Joined plainly, a small table is read by another index for each row (seen, of 500 keys: 128,000 rows for 256).
  lookUp: (table, alias, column, condition) =>
    `lateral (select ${alias}.${column} from ${table} ${alias} where ${condition} limit 1) ${alias} on true`,
  updateFrom: (calls, u, set) => `update ${calls} c set ${assigned(set)} from ${u.sql} where c.seq = u.seq and`,
  insertIfAbsent: (table, columns) =>
    `insert into ${table} (${columns.join(", ")}) values (${columns.map(() => "?").join(", ")}) on conflict do nothing`,
  insertSelectIfAbsent: (into, select) => `insert into ${into} ${select} on conflict do nothing`,
  upsertSelect({ into, key, columns, select, takenOver, keptState }) {
    const updates = takenOver.map((column) => `${column} = excluded.${column}`);
    return `insert into ${into} as present (${columns.join(", ")}) ${select}
      on conflict (${key.join(", ")}) do update set ${updates.join(", ")} where present.state <> '${keptState}'`;
  },
  useIndex: () => "",
  deleteBySeq: (table, seqs, condition = "true") => ({
    sql: `delete from ${table} c where c.seq = any(?::bigint[]) and ${condition}`,
    bindings: [postgres.seqs(seqs)],
  }),
  lockInShareMode: "for share",

  // By the table's own number: a process that is told the schema and one that finds it by its search path share the locks.
  async lockWriters(connection: Connection, { calls }, slots) {
    await connection.query(
      `select pg_advisory_xact_lock('${calls}'::regclass::oid::int, slot) from unnest(?::int[]) as slot`,
      [slots],
    );
  },
  // The lock is a column that the condition asks for, of a subquery that is not flattened; the table's defaults, `seq` among them,
  // are asked for above it (see the plan). An aggregate of several locks cost half as much again as this one.
  rowOnceWriterLocked: ({ calls }) =>
    `(select pg_advisory_xact_lock('${calls}'::regclass::oid::int, ?::int) as taken offset 0) locked where locked.taken is not null`,

  session: {
    id: "pg_backend_pid()",
    isOf: (connection, id) => (connection as { processID?: unknown }).processID === id,
    isNameUnknown,
  },

  writersOf: (table) => `select virtualtransaction as writer from pg_locks
    where locktype = 'relation' and relation = '${table}'::regclass and mode = 'RowExclusiveLock' and granted
      and database = (select oid from pg_database where datname = current_database())`,

  notifications,
  prepared: {
    // A plan of its own for each execution. One that was made while the tables were empty would be kept until somebody
    // analyzes them (seen with 60,000 calls: a fetch took 44 times as long, a settle 6 to 12 times).
    sessionSetup: ["set plan_cache_mode = force_custom_plan"],
    troubleOf(error) {
      if (isNameUnknown(error)) return "foreign";
      const { routine } = error as { routine?: string };
      return codeOf(error) === "0A000" && routine === "RevalidateCachedQuery" ? "outdated" : undefined;
    },
  },

  // Asked first: `create schema if not exists` needs the right to create one even where it exists.
  async createSchema(connection, schema) {
    const { count } = await connection.query("select 1 from pg_namespace where nspname = ?", [schema]);
    if (count === 0) await connection.query(`create schema if not exists ${postgres.quote(schema)}`);
  },

  async withMigrationLock(connection, lockSpace, work) {
    await connection.query("select pg_advisory_xact_lock(?, -1)", [lockSpace]);
    return work();
  },

  ownConnection: (connection) => connection,
  watchedDriver(driver, opened) {
    const { Client } = driver as { Client: new (...settings: unknown[]) => RawConnection };
    const Watched = class extends Client {
      constructor(...settings: unknown[]) {
        super(...settings);
        opened(this);
      }
    };
    return Object.create(driver as object, { Client: { value: Watched } }) as unknown;
  },
  socketOf: (client) => (client as { connection?: { stream?: RawSocket } }).connection?.stream,
  sessionSetup: () => ["set session characteristics as transaction isolation level read committed"],

  result<Row>(answer: unknown): Result<Row> {
    const { rows, rowCount } = answer as { rows: Row[]; rowCount: number | null };
    return { rows, count: rowCount ?? 0 };
  },

  // undefined_table, undefined_column
  isUnmigrated: (error) => codeOf(error) === "42P01" || codeOf(error) === "42703",
  // An error aborts a transaction, which refuses all that follows.
  isWholeRollback: () => false,
  isContention: (error) => CONTENTION.has(codeOf(error)),
  isNullRefused: (error) => codeOf(error) === "23502",
  isDuplicate: (error) => codeOf(error) === "23505",
};

/** Bytes beyond ASCII, and backslashes, are escaped in what `encode` gives. */
function unescaped(text: string): string {
  if (!text.includes("\\")) return text;
  return text.replace(/\\(\\|[0-7]{3})/g, (_, code: string) =>
    code === "\\" ? code : String.fromCharCode(Number.parseInt(code, 8)),
  );
}

function assigned(set: Readonly<Record<string, string>>): string {
  return Object.entries(set)
    .map(([column, value]) => `${column} = ${value}`)
    .join(", ");
}

/** invalid_sql_statement_name, duplicate_prepared_statement */
function isNameUnknown(error: unknown): boolean {
  return codeOf(error) === "26000" || codeOf(error) === "42P05";
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | undefined)?.code);
}

/** The first condition finds the rows by the primary key, the second compares the tokens: each is sent once, and each call with its place. */
function heldInPairs(alias: string, byToken: readonly (readonly [token: string, seqs: readonly Seq[]])[]): Sql {
  const seqs = postgres.seqs(byToken.flatMap(([, those]) => those));
  const tokens = byToken.map(([token]) => token);
  const places = byToken.flatMap(([, those], place) => those.map(() => place + 1));
  return {
    sql: `${alias}.seq = any(?::bigint[]) and (${alias}.seq, ${alias}.lease_id) in (
      select u.seq, (?::uuid[])[u.place] from unnest(?::bigint[], ?::int[]) u(seq, place))`,
    bindings: [seqs, `{${tokens.join(",")}}`, seqs, `{${places.join(",")}}`],
  };
}
