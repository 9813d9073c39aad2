import type { Knex } from "knex";
import type { Strategy } from "../../../src/index.js";
import type { Engine } from "../../harness/types.js";
import { CALLS, copyCall, saveOriginal, settle } from "./carteiro-calls.js";

/** What stands in the tables beside the calls that are drained, and stays there. */
export interface Surroundings {
  /** `streams`: so many others, each with ten calls that are not due. The rest are calls: more of the same stream, due ones of another one, sent, dead. */
  kind: "behind" | "other stream" | "sent" | "dead" | "streams";
  count: number;
}

const CALLS_OF_A_STREAM = 10;
/** Of one insert: an index that is filled in one go of ten million sorts on the disk, and so does MariaDB's undo log. */
const BATCH = 500_000;

/** Fills the tables once. @returns how many copies were made */
export async function surround(
  db: Knex,
  engine: Engine,
  strategy: Strategy,
  keys: number,
  { kind, count }: Surroundings,
): Promise<number> {
  const calls = kind === "streams" ? count * CALLS_OF_A_STREAM : count;
  const columns = columnsOf[engine](kind, count);
  const original = await saveOriginal(db, strategy);
  for (let after = 0; after < calls; after += BATCH) {
    await copyCall(db, engine, original, { calls: Math.min(BATCH, calls - after), keys, after, columns });
  }
  await db(CALLS).where({ id: original }).delete();
  if (kind === "streams") await db.raw(`insert into carteiro_streams (stream) select distinct stream from ${CALLS}`);
  for (const table of [CALLS, "carteiro_streams"]) await settle(db, engine, table);
  // Gigabytes that are still to be written would be written while it is measured.
  if (engine === "postgresql") await db.raw("checkpoint");
  return calls;
}

const columnsOf: Record<Engine, (kind: Surroundings["kind"], count: number) => Record<string, string>> = {
  postgresql: (kind, count) => ({
    ...(kind === "other stream" && { stream: "'another'" }),
    ...(kind === "streams" && { stream: `'stream ' || n % ${count}`, due_at: "created_at + interval '1 day'" }),
    ...((kind === "sent" || kind === "dead") && { state: `'${kind}'`, settled_at: "created_at" }),
  }),
  mysql: (kind, count) => ({
    ...(kind === "other stream" && { stream: "'another'" }),
    ...(kind === "streams" && { stream: `concat('stream ', n % ${count})`, due_at: "created_at + interval 1 day" }),
    ...((kind === "sent" || kind === "dead") && { state: `'${kind}'`, settled_at: "created_at" }),
  }),
};
