import type { Database, Sql } from "./database.js";
import type { Seq } from "./dialect.js";
import { keyOfCall, payloadAhead, type QueuedCall, QueuedReadCall } from "./fetch-stream.js";
import { type Column, joinedList, type JoinedRow, selectList, splitRows } from "./joined-rows.js";
import type { StreamLease } from "./serve-stream.js";
import { type CallRow, callColumns, readingOf } from "./stored-call.js";

/** What follows in the line behind a call that was read before. */
export interface Ahead {
  calls: QueuedCall[];
  /** All that is in the line up to that call, in no order. */
  before: string[];
}

interface AheadRow extends CallRow {
  /** Null where the call is due, and does not stand aside. */
  standing: string | null;
}

/** As `standing`. */
const NOT_DUE = "not due";
const ASIDE = "aside";

/**
 * Reads on behind `after`, while what was read before is being run and settled. A cursor passes over what commits late with a
 * smaller `seq`, and what the same key got next would overtake it. So the statement, which is one snapshot, also names all
 * that is left up to the cursor: one who knows each of these calls has missed none.
 *
 * @param running keys that stand aside and are being run
 * @param floor behind which call that which is left is named (Default: from the head)
 * @returns undefined where a look from the head is called for: a person has changed something, a key is due or stands aside, the lease is gone
 */
export async function readAhead(
  db: Database,
  lease: StreamLease,
  after: Seq,
  limit: number,
  running: readonly Buffer[],
  floor?: Seq,
): Promise<Ahead | undefined> {
  const { dialect } = db;
  const columns: Column[] = [
    ...callColumns(dialect, "c", payloadAhead("c", "k.stream is null"), ["stream", "strategy", "fence", "nowMs"]),
    {
      name: "standing",
      expression: `case when k.stream is not null then '${ASIDE}' when c.due_at > ${dialect.now} then '${NOT_DUE}' end`,
      isNullable: true,
    },
  ];
  const behind: Sql = {
    sql: `select ${selectList(columns)} from ${line(db)} left join ${keyOfCall(db)} where ${IN_LINE} and c.seq > ?
      order by c.seq limit ?`,
    bindings: [lease.stream, after, limit],
  };
  const read = dialect.joinsRows ? readJoined : readRows;
  const { look, rows } = await read(db, columns, lookBefore(db, lease, after, running, floor), behind);
  const [isUsual, countBefore, nowMs] = (look.found ?? "").split(",");
  if (isUsual !== "1") return undefined;
  const before = look.names === null ? [] : look.names.split(",");
  if (before.length !== Number(countBefore)) return undefined;
  const reading = readingOf(nowMs, { stream: lease.stream, strategy: "keep-order", fence: lease.fence });
  let [isAside, last] = [false, Number(after)];
  const calls = rows((row) => {
    // An order by is kept by what is put around it, though nobody promises it.
    isAside ||= row.standing === ASIDE || Number(row.seq) <= last;
    last = Number(row.seq);
    return new QueuedReadCall(row, dialect, reading, row.standing === null);
  });
  return calls === undefined || isAside ? undefined : { calls, before };
}

const IN_LINE = "c.state = 'pending' and c.strategy = 'keep-order' and c.stream = ?";

function line({ dialect, tables }: Database): string {
  return `${tables.calls} c ${dialect.useIndex("calls_line")}`;
}

/** Whether all is as usual, how many calls are left up to the cursor, and the database's clock; and the names of those calls. */
interface Look {
  found: string | null;
  names: string | null;
}

interface Looking extends Sql {
  columns: readonly Column[];
}

function lookBefore(
  db: Database,
  lease: StreamLease,
  after: Seq,
  running: readonly Buffer[],
  floor: Seq | undefined,
): Looking {
  const { dialect, tables } = db;
  const others = running.length > 0 ? `and not ${dialect.among("k.ordering_key")}` : "";
  const isUsual = `exists (select 1 from ${tables.streams} s
      where s.stream = ? and s.lease_token = ? and s.epoch <= s.seen_epoch and s.paused_at is null)
    and not exists (select 1 from ${tables.keys} k where k.stream = ? and k.due_at <= ${dialect.now} ${others})`;
  return {
    columns: [
      {
        name: "found",
        expression: `concat_ws(',', case when ${isUsual} then 1 else 0 end, count(*), ${dialect.epochMs(dialect.now)})`,
      },
      { name: "names", expression: dialect.joined("c.seq") },
    ],
    sql: `from ${line(db)} where ${IN_LINE} and c.seq <= ? ${floor === undefined ? "" : "and c.seq > ?"}`,
    bindings: [
      ...[lease.stream, lease.token, lease.stream, ...(running.length > 0 ? [running] : [])],
      ...[lease.stream, after, ...(floor === undefined ? [] : [floor])],
    ],
  };
}

/** What was found, and what makes something of each row; undefined where that cannot be done. */
interface Read {
  look: Look;
  rows: <Made>(make: (row: AheadRow) => Made) => Made[] | undefined;
}

async function readJoined(db: Database, columns: readonly Column[], look: Looking, behind: Sql): Promise<Read> {
  const { rows } = await db.query<JoinedRow>(
    `select l.found, l.names, r.* from (select ${selectList(look.columns)} ${look.sql}) l,
       (select ${joinedList(columns)} from (${behind.sql}) r) r`,
    [...look.bindings, ...behind.bindings],
  );
  const row = rows[0] as JoinedRow & Look;
  return { look: row, rows: (make) => splitRows(row, columns, make) };
}

/** As a union, whose first row is no call: what was found stands in columns of its own kind. */
async function readRows(db: Database, columns: readonly Column[], look: Looking, behind: Sql): Promise<Read> {
  const [found, names] = look.columns as [Column, Column];
  const others: Record<string, string> = { standing: found.expression, payload: names.expression };
  const { rows } = await db.query<AheadRow>(
    `select ${columns.map(({ name }) => `${others[name] ?? "null"} as ${name}`).join(", ")} ${look.sql}
     union all (${behind.sql})`,
    [...look.bindings, ...behind.bindings],
  );
  const first = rows.shift() as AheadRow;
  return { look: { found: first.standing, names: first.payload }, rows: (make) => rows.map(make) };
}

/** Who is writing to the calls at this moment; undefined where the database does not tell. */
export async function readWriters(db: Database): Promise<string[] | undefined> {
  const sql = db.dialect.writersOf?.(db.tables.calls);
  if (sql === undefined) return undefined;
  const { rows } = await db.query<{ writer: string }>(sql);
  return rows.map(({ writer }) => writer);
}
