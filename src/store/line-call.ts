import type { Strategy } from "../types.js";
import type { Seq } from "./dialect.js";
import type { QueuedCall } from "./fetch-stream.js";
import { keyOf } from "./key-name.js";
import { type CallRow, numberOr } from "./stored-call.js";

/** What is known of all calls of a line that were read together. */
export interface LineRead {
  stream: string;
  fence: number;
  /** The database's clock, and how far it is from this process's. */
  nowMs: number;
  clockOffsetMs: number;
}

/** A keep-order call that was read ahead: hundreds of them wait in memory, and each is a single object. */
export class LineCall implements QueuedCall {
  readonly seq: Seq;
  readonly id: string;
  readonly functionName: string;
  readonly stream: string;
  readonly strategy: Strategy = "keep-order";
  readonly keyName: string;
  readonly codec: string;
  readonly version: number;
  readonly headers: string;
  readonly signature?: string;
  readonly payload?: string;
  readonly attempts: number;
  readonly suspectRuns: number;
  readonly fence: number;
  readonly createdAtMs: number;
  readonly ageMs: number;
  readonly clockOffsetMs: number;
  readonly isDue: boolean;

  constructor(row: CallRow, keyName: string, isDue: boolean, read: LineRead) {
    this.seq = row.seq;
    this.id = row.id;
    this.functionName = row.function_name;
    this.stream = read.stream;
    this.keyName = keyName;
    this.codec = row.codec;
    this.version = numberOr(row.version, 1);
    this.headers = row.headers ?? "{}";
    if (row.signature !== null) this.signature = row.signature;
    if (row.payload !== null) this.payload = row.payload;
    this.attempts = numberOr(row.attempts, 0);
    this.suspectRuns = numberOr(row.suspect_runs, 0);
    this.fence = read.fence;
    this.createdAtMs = Number(row.created_ms);
    this.ageMs = read.nowMs - numberOr(row.first_due_ms, this.createdAtMs);
    this.clockOffsetMs = read.clockOffsetMs;
    this.isDue = isDue;
  }

  get orderingKey(): Buffer {
    return keyOf(this.keyName);
  }
}
