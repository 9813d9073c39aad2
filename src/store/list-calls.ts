import { InvalidOptionError } from "../errors.js";
import type { CallState, ListedCall } from "../types.js";
import { type CallFilter, conditionOf, shownState } from "./call-filter.js";
import { isLeased } from "./claim-calls.js";
import type { Binding, Database } from "./database.js";
import type { Seq } from "./dialect.js";
import { selectList } from "./joined-rows.js";
import { type CallRow, callColumns, ReadCall, readingOf, type StoredCall } from "./stored-call.js";

export interface Page {
  limit: number;
  /** What the page before ended with. */
  after?: { id: string } | { seq: Seq };
}

interface ListedRow extends Required<
  Pick<CallRow, "seq" | "id" | "function_name" | "stream" | "strategy" | "created_ms">
> {
  ordering_key: Uint8Array;
  attempts: number | string;
  shown_state: CallState;
  last_error: string | null;
  due_ms: number | string;
}

/** A page of calls in the order in which they were stored. */
export async function listCalls(db: Database, { limit, after, ...filter }: CallFilter & Page): Promise<ListedCall[]> {
  const { dialect, tables } = db;
  const { sql, bindings } = conditionOf(db, filter);
  const from: Binding[] = after === undefined ? [] : ["seq" in after ? after.seq : await seqOf(db, after.id)];
  const { rows } = await db.query<ListedRow>(
    `select c.seq, c.id, c.function_name, c.stream, c.strategy, c.ordering_key, ${shownState(db)} as shown_state, c.attempts, c.last_error,
       ${dialect.epochMs("c.created_at")} as created_ms, ${dialect.epochMs(`case when ${isLeased(dialect, "c")} then coalesce(c.lease_until, c.due_at) else c.due_at end`)} as due_ms
     from ${tables.calls} c where ${sql} ${after === undefined ? "" : "and c.seq > ?"} order by c.seq limit ?`,
    [...bindings, ...from, limit],
  );
  return rows.map(toListedCall);
}

function toListedCall(row: ListedRow): ListedCall {
  const orderingKey = Buffer.from(row.ordering_key).toString();
  return {
    id: row.id,
    function: row.function_name,
    stream: row.stream,
    strategy: row.strategy,
    ...(orderingKey === "" ? {} : { orderingKey }),
    state: row.shown_state,
    attempts: Number(row.attempts),
    ...(row.last_error === null ? {} : { lastError: row.last_error }),
    createdAt: toDate(row.created_ms),
    dueAt: toDate(row.due_ms),
    cursor: `${CURSOR}${row.seq}`,
  };
}

const CURSOR = "seq:";
/** As many digits as fit into a bigint. */
const SEQ = /^\d{1,18}$/;

/** @returns undefined where the text is not the cursor of a listed call */
export function seqOfCursor(cursor: unknown): Seq | undefined {
  if (typeof cursor !== "string" || !cursor.startsWith(CURSOR)) return undefined;
  const seq = cursor.slice(CURSOR.length);
  if (!SEQ.test(seq)) return undefined;
  // Compared with a text, MySQL would take both for floating-point numbers.
  return Number.isSafeInteger(Number(seq)) ? Number(seq) : seq;
}

/** What can be told of one call beside its place in a list; its payload where that is wanted. */
export interface CallParts {
  call: StoredCall;
  payloadBytes: number;
  settledAt?: Date;
}

export async function readCall(db: Database, id: string, withPayload: boolean): Promise<CallParts | undefined> {
  const { dialect, tables } = db;
  interface Row extends CallRow {
    payload_bytes: number | string;
    settled_ms: number | string | null;
  }
  const { rows } = await db.query<Row>(
    `select ${selectList(callColumns(dialect, "c", withPayload ? "c.payload" : "null"))}, octet_length(c.payload) as payload_bytes,
       ${dialect.epochMs("c.settled_at")} as settled_ms from ${tables.calls} c where c.id = ?`,
    [id],
  );
  const [row] = rows;
  if (!row) return undefined;
  const settledAt = row.settled_ms === null ? {} : { settledAt: toDate(row.settled_ms) };
  return {
    call: new ReadCall(row, dialect, readingOf(row.now_ms, {})),
    payloadBytes: Number(row.payload_bytes),
    ...settledAt,
  };
}

/** Rounded: PostgreSQL's seconds are binary fractions, and a moment centuries from now can arrive a microsecond before its millisecond. */
export function toDate(ms: number | string): Date {
  return new Date(Math.round(Number(ms)));
}

/** @throws {InvalidOptionError} the call is no longer stored, so that nobody can tell which ones came after it */
async function seqOf(db: Database, id: string): Promise<Seq> {
  const { rows } = await db.query<{ seq: Seq }>(`select seq from ${db.tables.calls} where id = ?`, [id]);
  if (rows[0]) return rows[0].seq;
  throw new InvalidOptionError(
    "after",
    `is ${id}, which is not stored, perhaps because it has run; give its cursor, which outlives it, or begin with the first page again`,
  );
}
