import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { insertFrom, insertRowset, insertValues } from "./insert-statement.js";
import type { Binding, Result, Tables } from "./database.js";
import type { Dialect } from "./dialect.js";
import type { CallContent } from "./stored-call.js";

/** A call on its way into the table. */
export interface NewCall extends CallContent {
  payload: string;
  /** Due this long after the save; 0 is at once. */
  delayMs: number;
  /** Due at this moment, in milliseconds since 1970, instead. */
  runAtMs?: number;
  /** Only where `persist: "on-failure"` stores a call whose run has failed. */
  failure?: { state: "pending" | "dead"; attempts: number; error: string };
}

/** Locks of one fixed set: a lock per key would exhaust the server's lock table (seen at 12,500 keys). */
export const WRITER_SLOTS = 256;

/** MariaDB refuses a statement above `max_allowed_packet`, 16 MiB by default, and closes the connection. */
const MAX_STATEMENT_BYTES = 4 * 1024 * 1024;
/** PostgreSQL takes 65,535 bindings at most. */
const MAX_STATEMENT_ROWS = 1000;

/** Where to insert; `isRepeated`: the same text comes again and again. */
export interface Inserting {
  query<Row>(sql: string, bindings?: readonly Binding[], isRepeated?: boolean): Promise<Result<Row>>;
}

/**
 * Stores calls in the caller's transaction, in their order. Writers of one ordering key first take its lock, so that
 * `seq` follows the order of their commits.
 */
export async function insertCalls(
  connection: Inserting,
  dialect: Dialect,
  tables: Tables,
  calls: readonly NewCall[],
  takesLocks: boolean,
): Promise<void> {
  const slots = takesLocks ? writerSlots(calls) : [];
  const { rowOnceWriterLocked, valueOnceWriterLocked, insertsRowsets } = dialect;
  const isOne = slots.length > 0 && calls.length === 1;
  if (isOne && rowOnceWriterLocked) {
    const source = { sql: rowOnceWriterLocked(tables), bindings: slots };
    const { sql, bindings } = insertFrom(source, dialect, tables, calls[0] as NewCall);
    await connection.query(sql, bindings, true);
    return;
  }
  if (isOne && valueOnceWriterLocked) {
    const { sql, bindings } = insertValues(dialect, tables, calls, {
      sql: valueOnceWriterLocked(tables),
      bindings: slots,
    });
    try {
      await connection.query(sql, bindings, true);
      return;
    } catch (error) {
      // Its lock is missing, and made below: the transaction goes on, as nothing but this statement was undone.
      if (!dialect.isNullRefused(error)) throw error;
    }
  }
  if (slots.length > 0) await dialect.lockWriters(connection, tables, slots);
  for (const chunk of chunks(calls)) {
    const isRowset = insertsRowsets && chunk.length > 1 && chunk.every(({ failure }) => failure === undefined);
    const { sql, bindings } = (isRowset ? insertRowset : insertValues)(dialect, tables, chunk);
    await connection.query(sql, bindings, isRowset || chunk.length === 1);
  }
}

function* chunks(calls: readonly NewCall[]): Generator<readonly NewCall[]> {
  if (calls.length === 1) {
    yield calls;
    return;
  }
  let chunk: NewCall[] = [];
  let bytes = 0;
  for (const call of calls) {
    const size = Buffer.byteLength(call.payload) + Buffer.byteLength(call.headers);
    if (chunk.length > 0 && (bytes + size > MAX_STATEMENT_BYTES || chunk.length === MAX_STATEMENT_ROWS)) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(call);
    bytes += size;
  }
  if (chunk.length > 0) yield chunk;
}

/** Sorted, so that two transactions with several keys take their locks in one order. */
function writerSlots(calls: readonly NewCall[]): number[] {
  const slots = new Set<number>();
  for (const call of calls) {
    if (call.strategy === "keep-order") slots.add(writerSlot(call.stream, call.orderingKey));
  }
  return [...slots].sort((a, b) => a - b);
}

function writerSlot(stream: string, orderingKey: Buffer): number {
  return crc32(orderingKey, crc32(`${stream}\0`)) % WRITER_SLOTS;
}

/** Keeps the migrations of two outboxes in one database apart: a signed 32-bit number of their tables' name. */
export function lockSpace({ schema, prefix }: Tables): number {
  return createHash("sha256")
    .update(`carteiro ${schema ?? ""} ${prefix}`)
    .digest()
    .readInt32BE();
}
