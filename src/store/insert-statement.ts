/** The statements that put calls into their table, in their order. */
import type { Binding, Sql, Tables } from "./database.js";
import type { ColumnType, Dialect } from "./dialect.js";
import type { NewCall } from "./insert-calls.js";

/** With one that the newest tables alone have: older ones are to refuse the calls until they are migrated. */
const COLUMNS =
  "id, function_name, stream, strategy, ordering_key, codec, version, payload, headers, created_at, due_at, first_due_at";

/** @param once what the first call's row waits for (Default: nothing) */
export function insertValues(dialect: Dialect, tables: Tables, calls: readonly NewCall[], once?: Once): Sql {
  const { columns, rows, bindings } = literalRows(dialect, calls, once);
  return { sql: `insert into ${tables.calls} (${columns}) values (${rows.join("), (")})`, bindings };
}

/** Of one call. `source` has one row, once what it waits for is there. */
export function insertFrom(source: Sql, dialect: Dialect, tables: Tables, call: NewCall): Sql {
  const { columns, rows, bindings } = literalRows(dialect, [call]);
  return {
    sql: `insert into ${tables.calls} (${columns}) select ${rows[0]} from ${source.sql}`,
    bindings: [...bindings, ...source.bindings],
  };
}

/** What the rowset of calls has: first their order. */
const ROWSET: Readonly<Record<string, ColumnType>> = {
  place: "int",
  id: "uuid",
  function_name: "text",
  stream: "text",
  strategy: "text",
  ordering_key: "bytes",
  codec: "text",
  version: "int",
  payload: "text",
  headers: "text",
  signature: "text",
  delay_ms: "ms",
  run_at_ms: "ms",
};

/** One text for any number of calls: 1000 took 0.6 of the time that they take as values, and two half, once prepared. */
export function insertRowset(dialect: Dialect, tables: Tables, calls: readonly NewCall[]): Sql {
  const rows = calls.map((call, place): Binding[] => {
    const { id, functionName, stream, strategy, orderingKey, codec, version, payload, headers } = call;
    const content = [id, functionName, stream, strategy, orderingKey, codec, version, payload, headers];
    return [place, ...content, call.signature ?? null, call.delayMs, call.runAtMs ?? null];
  });
  const { sql, bindings } = dialect.rowset("r", ROWSET, rows);
  const dueAt = `coalesce(${dialect.moment("run_at_ms")}, ${dialect.after("delay_ms", dialect.clock)})`;
  const sent = "id, function_name, stream, strategy, ordering_key, codec, version, payload, headers, signature";
  return {
    sql: `insert into ${tables.calls} (${sent}, created_at, due_at, first_due_at)
      select ${sent}, ${dialect.clock}, ${dueAt}, case when run_at_ms is not null or delay_ms > 0 then ${dueAt} end
      from ${sql} order by place`,
    bindings,
  };
}

interface LiteralRows {
  columns: string;
  /** Each without its brackets. */
  rows: string[];
  bindings: Binding[];
}

/** An expression that is its first binding once what the others name was there. */
export interface Once {
  sql: string;
  bindings: readonly Binding[];
}

/** Leaves out what none of the calls has but by default: each column costs the usual call its part. */
function literalRows(dialect: Dialect, calls: readonly NewCall[], once?: Once): LiteralRows {
  const isSigned = calls.some((call) => call.signature !== undefined);
  const isFailed = calls.some((call) => call.failure !== undefined);
  let columns = COLUMNS;
  if (isSigned) columns += ", signature";
  if (isFailed) columns += ", state, attempts, fence, last_error";

  const bindings: Binding[] = [];
  const rows = calls.map((call, place) => {
    const { id, functionName, stream, strategy, orderingKey, codec, version } = call;
    const waits = place === 0 ? once : undefined;
    const payload = dialect.text(call.payload);
    const headers = dialect.text(call.headers);
    bindings.push(id, functionName, stream, strategy, orderingKey, codec, version);
    if (waits) bindings.push(...waits.bindings);
    bindings.push(payload.binding, headers.binding);
    let row = `?, ?, ?, ?, ?, ?, ${waits ? waits.sql : "?"}, ${payload.sql}, ${headers.sql}, ${dialect.clock}, ${dueAt(dialect, call, bindings)}`;
    row += isDueLater(call) ? `, ${dueAt(dialect, call, bindings)}` : ", null";
    if (isSigned) {
      row += ", ?";
      bindings.push(call.signature ?? null);
    }
    if (isFailed) row += `, ${failure(dialect, call, bindings)}`;
    return row;
  });
  return { columns, rows, bindings };
}

/** Of a call that failed before it was stored, the delay is that of its next attempt. */
function isDueLater({ delayMs, runAtMs, failure }: NewCall): boolean {
  return failure === undefined && (delayMs > 0 || runAtMs !== undefined);
}

function dueAt(dialect: Dialect, { delayMs, runAtMs }: NewCall, bindings: Binding[]): string {
  if (runAtMs === undefined && delayMs === 0) return dialect.clock;
  bindings.push(runAtMs ?? delayMs);
  return runAtMs === undefined ? dialect.after("?", dialect.clock) : dialect.moment("?");
}

function failure(dialect: Dialect, call: NewCall, bindings: Binding[]): string {
  if (!call.failure) return "'pending', 0, 0, null";
  const { state, attempts, error } = call.failure;
  const lastError = dialect.text(error);
  // A run without a claim had the first fence.
  bindings.push(state, attempts, attempts, lastError.binding);
  return `?, ?, ?, ${lastError.sql}`;
}
