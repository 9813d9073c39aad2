import type { Strategy } from "../types.js";
import type { Dialect, Seq } from "./dialect.js";

/** What decides what runs. */
export interface CallContent {
  id: string;
  functionName: string;
  stream: string;
  strategy: Strategy;
  orderingKey: Buffer;
  codec: string;
  version: number;
  /** JSON. */
  headers: string;
  /** Of all that stands above, and of the payload; absent where the outbox that stored it does not sign. */
  signature?: string;
}

/** A call as it was read. */
export interface StoredCall extends CallContent {
  seq: Seq;
  /** Absent where it is too large to be read ahead: see `readPayload`. */
  payload?: string;
  /** Runs that were counted, before this one. */
  attempts: number;
  /** How often it was begun under suspicion of ending its process, since it last came to an end. */
  suspectRuns: number;
  fence: number;
  createdAtMs: number;
  /** How long ago it was due for the first time, or retried by a person, when it was read, on the database's clock. */
  ageMs: number;
  /** The database's clock minus this process's, when it was read. */
  clockOffsetMs: number;
}

/**
 * What a statement that reads calls returns per row; numbers arrive as texts from some drivers. Null stands for what most calls
 * have: a driver spends as much on `{}` as on any text (seen with pg: 4.9 µs for a row with each value spelled out, 3.0 like this).
 */
export interface CallRow {
  seq: Seq;
  id: string;
  function_name: string;
  stream?: string;
  strategy?: Strategy;
  ordering_key: Uint8Array;
  codec: string;
  version: number | string | null;
  payload: string | null;
  headers: string | null;
  attempts: number | string | null;
  fence?: number | string;
  signature: string | null;
  suspect_runs: number | string | null;
  created_ms: number | string;
  first_due_ms: number | string | null;
  now_ms?: number | string;
}

/** What whoever reads calls may know of all of them, so that it need not be read. */
type Known = "stream" | "strategy" | "fence" | "nowMs";

/** The columns of `CallRow`; every statement names them, since `select *` fails after a migration ("cached plan"). */
export function callColumns(
  dialect: Dialect,
  alias: string,
  payload = `${alias}.payload`,
  known: readonly Known[] = [],
  orderingKey = `${alias}.ordering_key`,
): string {
  return columnsOf(dialect, alias, payload, known, orderingKey)
    .map(([name, expression]) => `${expression} as ${name}`)
    .join(", ");
}

/** As many columns, for a row that is no call. */
export function noCall(dialect: Dialect, known: readonly Known[]): string {
  return columnsOf(dialect, "c", "", known, "")
    .map(([name]) => `null as ${name}`)
    .join(", ");
}

type Column = [name: string, expression: string];

function columnsOf(
  dialect: Dialect,
  alias: string,
  payload: string,
  known: readonly Known[],
  orderingKey: string,
): Column[] {
  const plain = (name: string): Column => [name, `${alias}.${name}`];
  const unlessKnown = (name: Known, column: Column): Column[] => (known.includes(name) ? [] : [column]);
  const unlessUsual = (name: string, usual: string): Column => [name, `nullif(${alias}.${name}, ${usual})`];
  return [
    ...["seq", "id", "function_name"].map(plain),
    ...unlessKnown("stream", plain("stream")),
    ...unlessKnown("strategy", plain("strategy")),
    ["ordering_key", orderingKey],
    ...["codec", "signature"].map(plain),
    unlessUsual("version", "1"),
    unlessUsual("headers", "'{}'"),
    unlessUsual("attempts", "0"),
    unlessUsual("suspect_runs", "0"),
    ...unlessKnown("fence", plain("fence")),
    ["payload", payload],
    ["created_ms", dialect.epochMs(`${alias}.created_at`)],
    ["first_due_ms", dialect.epochMs(`${alias}.first_due_at`)],
    ...unlessKnown("nowMs", ["now_ms", dialect.epochMs(dialect.now)]),
  ];
}

const NO_KEY = Buffer.alloc(0);

/** @param known the columns that were left out */
export function toStoredCall(
  row: CallRow,
  known: Partial<Pick<StoredCall, "stream" | "strategy" | "fence">> = {},
): StoredCall {
  const nowMs = Number(row.now_ms);
  const createdAtMs = Number(row.created_ms);
  const call: StoredCall = {
    seq: row.seq,
    id: row.id,
    functionName: row.function_name,
    stream: known.stream ?? (row.stream as string),
    strategy: known.strategy ?? (row.strategy as Strategy),
    orderingKey: row.ordering_key.length === 0 ? NO_KEY : toBuffer(row.ordering_key),
    codec: row.codec,
    version: numberOr(row.version, 1),
    headers: row.headers ?? "{}",
    attempts: numberOr(row.attempts, 0),
    suspectRuns: numberOr(row.suspect_runs, 0),
    fence: known.fence ?? Number(row.fence),
    createdAtMs,
    ageMs: nowMs - numberOr(row.first_due_ms, createdAtMs),
    clockOffsetMs: nowMs - Date.now(),
  };
  if (row.payload !== null) call.payload = row.payload;
  if (row.signature !== null) call.signature = row.signature;
  return call;
}

/** Null stands for what is usual. */
export function numberOr(value: number | string | null, usual: number): number {
  return value === null ? usual : Number(value);
}

export function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes);
}
