import { closeSync, openSync, readFileSync, writeSync } from "node:fs";

/** What the receiver of the calls has seen: it is no part of the database, and outlives whoever writes to it. */
export type Entry =
  /** `n` tells the runs of one process apart. */
  | { what: "began"; n: number; at: number; order: string; kind: Kind; fence: number }
  | { what: "ended"; n: number; at: number; succeeded: boolean }
  /** How a writer's transaction ended, as far as it knows. */
  | { what: "committed" | "rolled back" | "unknown" }
  | { what: "lease lost" };

/** By which function an order is delivered: in order, or right after the commit. */
export type Kind = "publish" | "notify";

/** Each entry is in the file when `write` returns: SIGKILL takes nothing back. */
export function openJournal(file: string): { write(entry: Entry): void; close(): void } {
  const descriptor = openSync(file, "a");
  return {
    write: (entry) => void writeSync(descriptor, `${JSON.stringify(entry)}\n`),
    close: () => closeSync(descriptor),
  };
}

export function readJournal(file: string): Entry[] {
  return readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Entry);
}

/** Milliseconds of the machine's monotonic clock, the same in every process. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
