import type { CallState, ListedCall, StreamStatus, Strategy } from "../types.js";
import { InvalidOptionError } from "../errors.js";
import type { Binding, Database } from "./database.js";
import type { Seq } from "./dialect.js";

export interface CallFilter {
  stream?: string;
  state?: CallState;
  functionName?: string;
  limit: number;
  /** The id that the page before ended with. */
  after?: string;
}

interface ListedRow {
  id: string;
  function_name: string;
  stream: string;
  strategy: Strategy;
  ordering_key: Uint8Array;
  shown_state: CallState;
  attempts: number | string;
  last_error: string | null;
  created_ms: number | string;
  due_ms: number | string;
}

/** A page of calls in the order in which they were stored. */
export async function listCalls(db: Database, filter: CallFilter): Promise<ListedCall[]> {
  const { dialect, tables } = db;
  const conditions: [string, Binding][] = [];
  if (filter.stream !== undefined) conditions.push(["c.stream = ?", filter.stream]);
  if (filter.functionName !== undefined) conditions.push(["c.function_name = ?", filter.functionName]);
  if (filter.state !== undefined) conditions.push([`${shownState(db)} = ?`, filter.state]);
  if (filter.after !== undefined) conditions.push(["c.seq > ?", await seqOf(db, filter.after)]);
  const where = conditions.length > 0 ? `where ${conditions.map(([sql]) => sql).join(" and ")}` : "";
  const { rows } = await db.query<ListedRow>(
    `select c.id, c.function_name, c.stream, c.strategy, c.ordering_key, ${shownState(db)} as shown_state, c.attempts, c.last_error,
       ${dialect.epochMs("c.created_at")} as created_ms, ${dialect.epochMs("c.due_at")} as due_ms
     from ${tables.calls} c ${where} order by c.seq limit ?`,
    [...conditions.map(([, binding]) => binding), filter.limit],
  );
  return rows.map((row) => {
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
    };
  });
}

/** Rounded: PostgreSQL's seconds are binary fractions, and a moment centuries from now can arrive a microsecond before its millisecond. */
function toDate(ms: number | string): Date {
  return new Date(Math.round(Number(ms)));
}

/** @throws {InvalidOptionError} the call is no longer stored, so that nobody can tell which ones came after it */
async function seqOf(db: Database, id: string): Promise<Seq> {
  const { rows } = await db.query<{ seq: Seq }>(`select seq from ${db.tables.calls} where id = ?`, [id]);
  if (rows[0]) return rows[0].seq;
  throw new InvalidOptionError(
    "after",
    `is ${id}, which is not stored, perhaps because it has run; begin with the first page again`,
  );
}

/** A call's state in the words of the glossary. */
function shownState({ dialect }: Database): string {
  return `case
    when c.state = 'held' and c.attempts > 0 then 'blocked'
    when c.state = 'held' then 'waiting'
    when c.state <> 'pending' then c.state
    when c.lease_token is not null and c.due_at > ${dialect.now} then 'running'
    when c.due_at <= ${dialect.now} then 'due'
    else 'pending' end`;
}

/** How each stream stands that has a call. */
export async function streamStatus(db: Database): Promise<StreamStatus[]> {
  const { dialect, tables } = db;
  const count = (condition: string) => `sum(case when ${condition} then 1 else 0 end)`;
  const state = shownState(db);
  const { rows } = await db.query<Record<string, number | string | null>>(
    `select c.stream as stream,
       ${count("c.state in ('pending', 'held')")} as pending, ${count(`${state} = 'due'`)} as due, ${count(`${state} = 'running'`)} as running,
       ${count("c.state = 'sent'")} as sent, ${count("c.state = 'dead'")} as dead,
       (select count(*) from ${tables.keys} k where k.stream = c.stream and k.state <> 'busy') as blocked_keys,
       max(case when c.state in ('pending', 'held') and c.due_at <= ${dialect.now} then ${dialect.elapsedMs("c.due_at", dialect.now)} end) as oldest_due_ms
     from ${tables.calls} c group by c.stream order by c.stream`,
  );
  return rows.map((row) => ({
    stream: String(row["stream"]),
    pending: Number(row["pending"]),
    due: Number(row["due"]),
    running: Number(row["running"]),
    sent: Number(row["sent"]),
    dead: Number(row["dead"]),
    blockedKeys: Number(row["blocked_keys"]),
    ...(row["oldest_due_ms"] === null ? {} : { oldestDueAgeMs: Number(row["oldest_due_ms"]) }),
  }));
}
