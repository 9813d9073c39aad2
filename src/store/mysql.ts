import type { Binding, Connection, Result } from "./database.js";
import type { CallLease, Dialect } from "./dialect.js";
import { nameOf } from "./key-name.js";
import type { RawConnection, RawSocket } from "./statement-timeout.js";

/** ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK, and MariaDB's ER_CHECKREAD. */
const CONTENTION = new Set([1205, 1213, 1020]);
/** ER_LOCK_DEADLOCK, and ER_CHECKREAD under innodb_snapshot_isolation: the statement and all before it are gone (seen). */
const WHOLE_ROLLBACK = new Set([1213, 1020, 1206]);
const ER_NO_SUCH_TABLE = 1146;
const ER_BAD_FIELD_ERROR = 1054;
const ER_DUP_ENTRY = 1062;
const ER_BAD_NULL_ERROR = 1048;
const MIGRATION_LOCK_SECONDS = 300;

/** MySQL and MariaDB. */
export const mysql: Dialect = {
  family: "mysql",
  returning: false,
  // group_concat cuts at a length, and mysql2 makes rows faster.
  joinsRows: false,
  momentType: "datetime(6)",
  // In a connection of another character set the server converts, or mangles, what is sent as text (seen: latin1).
  text: (value) =>
    /[^\x20-\x7e]/.test(value)
      ? { sql: "convert(? using utf8mb4)", binding: Buffer.from(value) }
      : { sql: "?", binding: value },
  now: "utc_timestamp(6)",
  clock: "utc_timestamp(6)",
  quote: (identifier) => `\`${identifier.replaceAll("`", "``")}\``,
  after: (milliseconds, from = "utc_timestamp(6)") => `timestampadd(microsecond, ${milliseconds} * 1000, ${from})`,
  moment: (milliseconds) => `timestampadd(microsecond, ${milliseconds} * 1000, timestamp'1970-01-01 00:00:00.000000')`,
  never: "timestamp'9999-12-31 00:00:00'",
  epochMs: (expression) => `timestampdiff(microsecond, timestamp'1970-01-01 00:00:00', ${expression}) / 1000`,
  elapsedMs: (from, to) => `timestampdiff(microsecond, ${from}, ${to}) / 1000`,
  joined: (expression) => `group_concat(${expression})`,
  contains: (column, text) => {
    const { sql, binding } = mysql.text(text);
    return { sql: `instr(${column}, ${sql}) > 0`, binding };
  },
  among: (column) => `${column} in (?)`,

  keyColumn: (column) => column,
  keyName: (value) => nameOf(value as Buffer),
  seqs: (seqs) => seqs,

  held(alias, leases: readonly CallLease[]) {
    return {
      // The first condition finds the rows by the primary key, the second compares the tokens.
      sql: `${alias}.seq in (?) and (${alias}.seq, ${alias}.lease_id) in (?)`,
      bindings: [leases.map((lease) => lease.seq), leases.map((lease) => [lease.seq, lease.token])],
    };
  },

  rowset(alias, columns, rows: readonly (readonly Binding[])[]) {
    const names = Object.keys(columns);
    const first = `select ${names.map((name) => `? as ${name}`).join(", ")}`;
    const next = ` union all select ${names.map(() => "?").join(", ")}`;
    return { sql: `(${first}${next.repeat(rows.length - 1)}) as ${alias}`, bindings: rows.flat() };
  },

  // An insert of a select locks the table's counter until its end.
  insertsRowsets: false,

  // A loose index scan ("Using index for group-by"): one step per stream, however many calls each has. Grouped by the stream
  // alone, MariaDB reads every pending call (seen: 14 ms for 60,000, against 0.6).
  streamsOf(table, texts, isDue) {
    const where = Object.entries(texts).map(([column, text]) => `${column} = '${text}'`);
    const streams = `select stream from ${table} ${where.length > 0 ? `where ${where.join(" and ")}` : ""}
      group by ${[...Object.keys(texts), "stream"].join(", ")}`;
    if (!isDue) return streams;
    // What is running stands in front of what is due.
    return `select stream from (${streams} having min(due_at) <= utc_timestamp(6)) s
      where exists (select 1 from ${table} d force index (calls_due) where ${["d.stream = s.stream", ...where].join(" and ")}
        and d.due_at <= utc_timestamp(6) and (d.lease_until is null or d.lease_until <= utc_timestamp(6)))`;
  },

  lookUp: (table, alias, _column, condition) => `${table} ${alias} on ${condition}`,
  updateFrom(calls, u, set) {
    const assigned = Object.entries(set).map(([column, value]) => `c.${column} = ${value}`);
    return `update ${u.sql} straight_join ${calls} c force index (primary) on c.seq = u.seq set ${assigned.join(", ")} where`;
  },
  insertIfAbsent: (table, columns) =>
    `insert ignore into ${table} (${columns.join(", ")}) values (${columns.map(() => "?").join(", ")})`,
  insertSelectIfAbsent: (into, select) => `insert ignore into ${into} ${select}`,
  // Assigned in turn, each seeing those before it: the state, which all of them ask for, comes last.
  upsertSelect({ into, columns, select, takenOver, keptState }) {
    const updates = takenOver
      .toSorted((a, b) => Number(a === "state") - Number(b === "state"))
      .map((column) => `${column} = if(${into}.state = '${keptState}', ${into}.${column}, values(${column}))`);
    return `insert into ${into} (${columns.join(", ")}) ${select} on duplicate key update ${updates.join(", ")}`;
  },
  useIndex: (name) => `force index (${name})`,
  // A join leaves MariaDB no choice: told to delete `where seq in (…)`, it reads a smaller table whole, whatever index is named.
  deleteBySeq: (table, seqs, condition = "true") => ({
    sql: `delete c from json_table(?, '$[*]' columns (seq bigint unsigned path '$')) u
      straight_join ${table} c force index (primary) on c.seq = u.seq where ${condition}`,
    bindings: [JSON.stringify(seqs)],
  }),
  lockInShareMode: "lock in share mode",

  async lockWriters(connection: Connection, { writers }, slots) {
    const lock = () =>
      connection.query(`select slot from ${writers} force index (primary) where slot in (?) order by slot for update`, [
        slots,
      ]);
    if ((await lock()).count === slots.length) return;
    // Somebody has emptied the table: without its rows nobody would wait, and no order be kept.
    const missing = slots.map(() => "(?)").join(", ");
    await connection.query(`insert ignore into ${writers} (slot) values ${missing}`, slots);
    await lock();
  },

  // Values are there before the counter gives the row its `seq`, and an insert of values does not hold the counter while it waits,
  // as one of a select may. With a statement of its own for the lock 8 writers reached 0.74 of an insert by hand, with this 0.87: what
  // is left is the second table that the server opens (seen: 30 to 40 µs, as many without the lock).
  valueOnceWriterLocked: ({ writers }) => `(select ? from ${writers} force index (primary) where slot = ? for update)`,

  // A schema is a database here, with an owner, a character set and grants: not ours to create.
  createSchema: () => Promise.resolve(),

  async withMigrationLock(connection, lockSpace, work) {
    const name = `carteiro migrate ${lockSpace}`;
    const { rows } = await connection.query<{ locked: number }>("select get_lock(?, ?) as locked", [
      name,
      MIGRATION_LOCK_SECONDS,
    ]);
    if (Number(rows[0]?.locked) !== 1) {
      throw new Error(`another process has been migrating for ${MIGRATION_LOCK_SECONDS} s; look at it, then try again`);
    }
    try {
      return await work();
    } finally {
      await connection.query("select release_lock(?)", [name]);
    }
  },

  ownConnection(connection) {
    if (typeof connection !== "object" || connection === null) return connection;
    const plain = { charset: "utf8mb4", typeCast: true, rowsAsArray: false, bigNumberStrings: false };
    // Knex has hidden the password from a spread.
    const { password } = connection as { password?: unknown };
    return { ...connection, ...(password === undefined ? {} : { password }), ...plain } as typeof connection;
  },
  watchedDriver(driver, opened) {
    const { createConnection } = driver as { createConnection: (settings: unknown) => RawConnection };
    const watched = (settings: unknown) => {
      const connection = createConnection(settings);
      opened(connection);
      return connection;
    };
    return Object.create(driver as object, { createConnection: { value: watched } }) as unknown;
  },
  socketOf: (connection) => (connection as { stream?: RawSocket }).stream,
  // The server keeps a session whose client is gone without a word, with the locks of its transaction, for eight hours.
  sessionSetup: (statementMs) => [
    "set session transaction isolation level read committed",
    // MySQL's own 1024 bytes would cut a list of some sixty calls.
    "set session group_concat_max_len = 1048576",
    ...(statementMs === undefined ? [] : [`set session wait_timeout = ${waitSeconds(statementMs)}`]),
  ],

  result<Row>(answer: unknown): Result<Row> {
    const [rows] = answer as [Row[] | { affectedRows: number }];
    return Array.isArray(rows) ? { rows, count: rows.length } : { rows: [], count: rows.affectedRows };
  },

  isUnmigrated: (error) => errnoOf(error) === ER_NO_SUCH_TABLE || errnoOf(error) === ER_BAD_FIELD_ERROR,
  isContention: (error) => CONTENTION.has(errnoOf(error)),
  isNullRefused: (error) => errnoOf(error) === ER_BAD_NULL_ERROR,
  isDuplicate: (error) => errnoOf(error) === ER_DUP_ENTRY,
  isWholeRollback: (error) => WHOLE_ROLLBACK.has(errnoOf(error)),
};

/** For longer than the pool keeps a connection idle: 30 s. */
const LEAST_WAIT_SECONDS = 60;

function waitSeconds(statementMs: number): number {
  return Math.max(LEAST_WAIT_SECONDS, Math.ceil(statementMs / 1000));
}

function errnoOf(error: unknown): number {
  return Number((error as { errno?: unknown } | undefined)?.errno);
}
