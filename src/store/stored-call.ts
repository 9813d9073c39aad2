import type { Strategy } from "../types.js";
import type { Dialect, Seq } from "./dialect.js";
import { type Column, ownText } from "./joined-rows.js";
import { keyOf } from "./key-name.js";

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
  signature?: string | undefined;
}

/** A call as it was read. */
export interface StoredCall extends CallContent {
  seq: Seq;
  /** Absent where it is too large to be read ahead: see `readPayload`. */
  payload?: string | undefined;
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
  /** It stays for longer than those that were read with it, and shall not keep them in memory. */
  keepAlone?(): void;
}

/**
 * What a statement that reads calls returns per row; numbers arrive as texts from some drivers. Null stands for what most calls
 * have: a driver spends as much on `{}` as on any text, and a tenth of that on a null (seen with pg: 4.9 µs for a row with each
 * value in a column of its own and spelled out, 2.3 like this).
 */
export interface CallRow {
  seq: Seq;
  id: string;
  function_name: string;
  stream?: string;
  strategy?: Strategy;
  ordering_key: unknown;
  codec: string | null;
  signature: string | null;
  headers: string | null;
  payload: string | null;
  created_ms: number | string;
  /** Version, attempts, suspect runs, and when it was first due, if that is not when it was created: with commas between them. */
  counts: string | null;
  fence?: number | string | null;
  now_ms?: number | string;
}

/** What whoever reads calls may know of all of them, so that it need not be read. */
export type Known = "stream" | "strategy" | "fence" | "nowMs";

const USUAL_CODEC = "superjson";
const USUAL_HEADERS = "{}";

/** The columns of `CallRow`; every statement names them, since `select *` fails after a migration ("cached plan"). */
export function callColumns(
  dialect: Dialect,
  alias: string,
  payload = `${alias}.payload`,
  known: readonly Known[] = [],
): Column[] {
  const plain = (name: string): Column => ({ name, expression: `${alias}.${name}` });
  const unlessKnown = (name: Known, column: Column): Column[] => (known.includes(name) ? [] : [column]);
  const nullable = (name: string, expression: string): Column => ({ name, expression, isNullable: true });
  const unlessUsual = (name: string, usual: string) => nullable(name, `nullif(${alias}.${name}, ${usual})`);
  const [version, attempts, suspectRuns, firstDue] = ["version", "attempts", "suspect_runs", "first_due_at"].map(
    (name) => `${alias}.${name}`,
  ) as [string, string, string, string];
  return [
    ...["seq", "id", "function_name"].map(plain),
    ...unlessKnown("stream", plain("stream")),
    ...unlessKnown("strategy", plain("strategy")),
    { name: "ordering_key", expression: dialect.keyColumn(`${alias}.ordering_key`) },
    unlessUsual("codec", `'${USUAL_CODEC}'`),
    nullable("signature", `${alias}.signature`),
    unlessUsual("headers", `'${USUAL_HEADERS}'`),
    nullable("payload", payload),
    { name: "created_ms", expression: dialect.epochMs(`${alias}.created_at`) },
    nullable(
      "counts",
      `case when ${version} <> 1 or ${attempts} <> 0 or ${suspectRuns} <> 0 or ${firstDue} is not null
       then concat_ws(',', ${version}, ${attempts}, ${suspectRuns}, ${dialect.epochMs(firstDue)}) end`,
    ),
    ...unlessKnown("fence", unlessUsual("fence", "1")),
    ...unlessKnown("nowMs", { name: "now_ms", expression: dialect.epochMs(dialect.now) }),
  ];
}

/** What is known of all calls that one statement has read. */
export interface Reading {
  stream?: string;
  strategy?: Strategy;
  fence?: number;
  /** The database's clock when they were read, and how far it is from this process's. */
  nowMs: number;
  clockOffsetMs: number;
}

/** @param nowMs as the driver gave it */
export function readingOf(
  nowMs: number | string | undefined,
  known: Omit<Reading, "nowMs" | "clockOffsetMs">,
): Reading {
  const atMs = Number(nowMs);
  return { ...known, nowMs: atMs, clockOffsetMs: atMs - Date.now() };
}

interface Counts {
  version: number;
  attempts: number;
  suspectRuns: number;
  firstDueMs: number | undefined;
}

const USUAL_COUNTS: Counts = { version: 1, attempts: 0, suspectRuns: 0, firstDueMs: undefined };

function countsOf(text: string): Counts {
  const [version, attempts, suspectRuns, firstDueMs] = text.split(",").map(Number) as [number, number, number, number?];
  return { version, attempts, suspectRuns, firstDueMs };
}

export function fenceOf({ fence }: Pick<CallRow, "fence">): number {
  return Number(fence ?? 1);
}

/** A call as a row told it: one object, and few fields, since hundreds of them wait in memory. */
export class ReadCall implements StoredCall {
  readonly seq: Seq;
  id: string;
  functionName: string;
  /** Its ordering key: see `nameOf`. */
  keyName: string;
  readonly codec: string;
  headers: string;
  readonly signature: string | undefined;
  payload: string | undefined;
  readonly createdAtMs: number;
  readonly fence: number;
  readonly stream: string;
  readonly strategy: Strategy;
  readonly #counts: Counts;
  readonly #reading: Reading;

  constructor(row: CallRow, dialect: Dialect, reading: Reading) {
    this.seq = row.seq;
    this.id = row.id;
    this.functionName = row.function_name;
    this.keyName = dialect.keyName(row.ordering_key);
    this.codec = row.codec ?? USUAL_CODEC;
    this.headers = row.headers ?? USUAL_HEADERS;
    this.signature = row.signature ?? undefined;
    this.payload = row.payload ?? undefined;
    this.createdAtMs = Number(row.created_ms);
    this.fence = reading.fence ?? fenceOf(row);
    this.#counts = row.counts === null ? USUAL_COUNTS : countsOf(row.counts);
    this.stream = reading.stream ?? (row.stream as string);
    this.strategy = reading.strategy ?? (row.strategy as Strategy);
    this.#reading = reading;
  }

  get orderingKey(): Buffer {
    return keyOf(this.keyName);
  }

  get version(): number {
    return this.#counts.version;
  }

  get attempts(): number {
    return this.#counts.attempts;
  }

  get suspectRuns(): number {
    return this.#counts.suspectRuns;
  }

  get ageMs(): number {
    return this.#reading.nowMs - (this.#counts.firstDueMs ?? this.createdAtMs);
  }

  get clockOffsetMs(): number {
    return this.#reading.clockOffsetMs;
  }

  keepAlone(): void {
    this.id = ownText(this.id);
    this.functionName = ownText(this.functionName);
    this.keyName = ownText(this.keyName);
    this.headers = ownText(this.headers);
    if (this.payload !== undefined) this.payload = ownText(this.payload);
  }
}

export function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes);
}
