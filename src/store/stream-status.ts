import type { StreamStatus } from "../types.js";
import { shownState } from "./call-filter.js";
import type { Database } from "./database.js";
import { headOf } from "./fetch-stream.js";
import { toDate } from "./list-calls.js";

export interface OpenFunction {
  stream: string;
  functionName: string;
  version: number;
  calls: number;
}

type Row = Record<string, number | string | null>;

/** How each stream stands that has a call, is paused, or has a parked key; by name. */
export async function streamStatus(db: Database): Promise<StreamStatus[]> {
  const [counts, keys, heads, streams] = await Promise.all([
    countCalls(db),
    countKeys(db),
    blockedHeads(db),
    streamRows(db),
  ]);
  const names = new Set([...counts.keys(), ...keys.keys(), ...streams.keys()]);
  return [...names].sort(byBytes).flatMap((stream) => {
    const count = counts.get(stream);
    const ofKeys = keys.get(stream);
    const row = streams.get(stream);
    const isPaused = (row?.["paused_ms"] ?? null) !== null;
    const isShown = count !== undefined || Number(ofKeys?.["parked"] ?? 0) > 0 || isPaused;
    return isShown ? [statusOf(stream, count, ofKeys, heads.get(stream), row)] : [];
  });
}

function statusOf(stream: string, count: Row = {}, keys: Row = {}, head: Row | undefined, row: Row = {}): StreamStatus {
  const optional = <Name extends string, Value>(name: Name, value: Value | undefined) =>
    (value === undefined ? {} : { [name]: value }) as Partial<Record<Name, Value>>;
  const text = (value: Row[string] | undefined) => (value === null || value === undefined ? undefined : String(value));
  const number = (value: Row[string] | undefined) =>
    value === null || value === undefined ? undefined : Number(value);
  const date = (value: Row[string] | undefined) => (value === null || value === undefined ? undefined : toDate(value));
  return {
    stream,
    pending: Number(count["pending"] ?? 0),
    due: Number(count["due"] ?? 0),
    running: Number(count["running"] ?? 0),
    sent: Number(count["sent"] ?? 0),
    dead: Number(count["dead"] ?? 0),
    parked: Number(count["parked"] ?? 0),
    blockedKeys: Number(keys["blocked"] ?? 0),
    waitingKeys: Number(keys["waiting"] ?? 0),
    parkedKeys: Number(keys["parked"] ?? 0),
    ...optional("oldestDueAgeMs", number(count["oldest_due_ms"])),
    ...optional("blockedHead", head && toHead(head)),
    ...optional("pausedAt", date(row["paused_ms"])),
    ...optional("pausedReason", text(row["paused_reason"])),
    ...optional("servedBy", text(row["holder"])),
  };
}

function toHead(row: Row): NonNullable<StreamStatus["blockedHead"]> {
  const orderingKey = Buffer.from(row["ordering_key"] as unknown as Uint8Array).toString();
  return {
    id: String(row["id"]),
    function: String(row["function_name"]),
    ...(orderingKey === "" ? {} : { orderingKey }),
    attempts: Number(row["attempts"]),
    since: toDate(row["since_ms"] as number),
    ...(row["last_error"] === null ? {} : { lastError: String(row["last_error"]) }),
  };
}

/** By state first: the database would find out the state of a call anew for each sum that asks for it. */
async function countCalls(db: Database): Promise<Map<string, Row>> {
  const { dialect, tables } = db;
  const count = (condition: string) => `sum(case when ${condition} then calls else 0 end)`;
  return byStream(
    db,
    `select stream, ${count("state in ('pending', 'due', 'running', 'blocked', 'waiting', 'parked')")} as pending,
       ${count("state = 'due'")} as due, ${count("state = 'running'")} as running, ${count("state = 'sent'")} as sent,
       ${count("state = 'dead'")} as dead, ${count("state = 'parked'")} as parked,
       max(case when state in ('due', 'blocked', 'waiting') and first_due <= ${dialect.now}
         then ${dialect.elapsedMs("first_due", dialect.now)} end) as oldest_due_ms
     from (select c.stream, ${shownState(db)} as state, count(*) as calls, min(c.due_at) as first_due
           from ${tables.calls} c group by 1, 2) of_state group by stream`,
  );
}

function countKeys(db: Database): Promise<Map<string, Row>> {
  return byStream(
    db,
    `select k.stream, sum(case when k.state = 'blocked' then 1 else 0 end) as blocked,
       sum(case when k.state in ('waiting', 'unroutable') then 1 else 0 end) as waiting,
       sum(case when k.state = 'parked' then 1 else 0 end) as parked from ${db.tables.keys} k group by k.stream`,
  );
}

/** The head that has been blocking its key for longest. */
function blockedHeads(db: Database): Promise<Map<string, Row>> {
  const { dialect, tables } = db;
  return byStream(
    db,
    `select k.stream, k.ordering_key, ${dialect.epochMs("k.since")} as since_ms, c.id, c.function_name, c.attempts, c.last_error
     from (select stream, ordering_key, since, row_number() over (partition by stream order by since, ordering_key) as place
           from ${tables.keys} where state = 'blocked') k
     join ${tables.calls} c on c.seq = ${headOf(db, "k")}
     where k.place = 1`,
  );
}

function streamRows(db: Database): Promise<Map<string, Row>> {
  const { dialect, tables } = db;
  return byStream(
    db,
    `select s.stream, ${dialect.epochMs("s.paused_at")} as paused_ms, s.paused_reason,
       case when s.lease_until > ${dialect.now} then s.holder end as holder
     from ${tables.streams} s where s.paused_at is not null or s.lease_until > ${dialect.now}`,
  );
}

/** The functions, and versions, that have a call which is neither sent nor dead. */
export async function openFunctions(db: Database): Promise<OpenFunction[]> {
  const { tables } = db;
  const { rows } = await db.query<{
    stream: string;
    function_name: string;
    version: number | string;
    calls: number | string;
  }>(
    `select stream, function_name, version, count(*) as calls from ${tables.calls} where state in ('pending', 'held')
     group by stream, function_name, version order by stream, function_name, version`,
  );
  return rows.map(({ stream, function_name: functionName, version, calls }) => ({
    stream,
    functionName,
    version: Number(version),
    calls: Number(calls),
  }));
}

async function byStream(db: Database, sql: string): Promise<Map<string, Row>> {
  const { rows } = await db.query<Row>(sql);
  return new Map(rows.map((row) => [String(row["stream"]), row]));
}

function byBytes(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}
