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

/** What a statement that reads calls returns per row; numbers arrive as texts from some drivers. */
export interface CallRow {
  seq: Seq;
  id: string;
  function_name: string;
  stream: string;
  strategy: Strategy;
  ordering_key: Uint8Array;
  codec: string;
  version: number | string;
  payload: string | null;
  headers: string;
  attempts: number | string;
  fence: number | string;
  signature: string | null;
  suspect_runs: number | string;
  created_ms: number | string;
  first_due_ms: number | string;
  now_ms: number | string;
}

/** The columns of `CallRow`; every statement names them, since `select *` fails after a migration ("cached plan"). */
export function callColumns(dialect: Dialect, alias: string, payload = `${alias}.payload`): string {
  const plain = [
    "seq",
    "id",
    "function_name",
    "stream",
    "strategy",
    "ordering_key",
    "codec",
    "version",
    "headers",
    "attempts",
    "fence",
    "signature",
    "suspect_runs",
  ];
  return [
    ...plain.map((column) => `${alias}.${column}`),
    `${payload} as payload`,
    `${dialect.epochMs(`${alias}.created_at`)} as created_ms`,
    `${dialect.epochMs(`coalesce(${alias}.first_due_at, ${alias}.created_at)`)} as first_due_ms`,
    `${dialect.epochMs(dialect.now)} as now_ms`,
  ].join(", ");
}

export function toStoredCall(row: CallRow, fence = Number(row.fence)): StoredCall {
  const nowMs = Number(row.now_ms);
  const createdAtMs = Number(row.created_ms);
  return {
    seq: row.seq,
    id: row.id,
    functionName: row.function_name,
    stream: row.stream,
    strategy: row.strategy,
    orderingKey: Buffer.from(row.ordering_key),
    codec: row.codec,
    version: Number(row.version),
    ...(row.payload === null ? {} : { payload: row.payload }),
    headers: row.headers,
    ...(row.signature === null ? {} : { signature: row.signature }),
    attempts: Number(row.attempts),
    suspectRuns: Number(row.suspect_runs),
    fence,
    createdAtMs,
    ageMs: nowMs - Number(row.first_due_ms),
    clockOffsetMs: nowMs - Date.now(),
  };
}
