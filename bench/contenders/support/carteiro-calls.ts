import type { Knex } from "knex";
import { randomBytes } from "node:crypto";
import { createOutbox, type Strategy } from "../../../src/index.js";
import type { Engine } from "../../harness/types.js";

/** What every call of the bench says. */
export const order: Order = { orderId: 4711, total: 99.5, customer: "Ana Souza" };
export interface Order {
  orderId: number;
  total: number;
  customer: string;
  /** What makes it large. */
  note?: string;
}

export const STREAM = "orders";
export const CALLS = "carteiro_calls";

export interface Backlog {
  calls: number;
  strategy: Strategy;
  /** Ordering keys that the calls take in turn; 0: none. */
  keys: number;
  /** Of each call's payload. (Default: that of a small order) */
  payloadBytes?: number;
}

/** Leaves exactly so many due calls in the table: one is saved as any other is, and copied by the database. */
export async function seedCalls(
  db: Knex,
  engine: Engine,
  { calls, strategy, keys, payloadBytes }: Backlog,
): Promise<void> {
  await db.raw(`truncate table ${CALLS}`);
  const original = await saveOriginal(db, strategy, payloadBytes);
  await copyCall(db, engine, original, { calls, keys });
  await db(CALLS).where({ id: original }).delete();
  await settle(db, engine, CALLS);
}

/** @returns the id of a saved call; due tomorrow, or else it would be run before it can be copied */
export async function saveOriginal(db: Knex, strategy: Strategy, payloadBytes?: number): Promise<string> {
  const outbox = createOutbox({ knex: db, ownConnections: 0 });
  const publish = outbox.saveToOutbox((_order: Order) => undefined, { name: "publish", stream: STREAM, strategy });
  const { id } = await outbox.transaction(() =>
    publish.with({ delay: "1d" })(payloadBytes === undefined ? order : ofBytes(payloadBytes)),
  );
  await outbox.close();
  return id;
}

/** Random: PostgreSQL would compress a text that repeats itself to a hundredth. */
function ofBytes(bytes: number): Order {
  // 200 are what the rest takes, encoded.
  return { ...order, note: randomBytes(Math.ceil((bytes - 200) * 0.75)).toString("base64") };
}

export interface Copies {
  calls: number;
  keys: number;
  /** How many copies there were before: their ids are taken. (Default: none) */
  after?: number;
  /** What else these have of their own: expressions, in which `n` counts the copies. (Default: nothing) */
  columns?: Readonly<Record<string, string>>;
}

/** Stores a call so many times more, due now. */
export async function copyCall(db: Knex, engine: Engine, original: string, copies: Copies): Promise<void> {
  const { calls, keys, after = 0, columns = {} } = copies;
  const own: Record<string, string> = { ...ownColumns[engine](after), ...columns };
  if (keys > 0) own["ordering_key"] ??= keyOf(engine, keys);
  const names = (await columnsOf(db, engine)).filter((name) => name !== "seq" && !(name in own));
  await db.raw(
    `insert into ${CALLS} (${[...Object.keys(own), ...names].join(", ")})
     select ${[...Object.values(own), ...names].join(", ")}
     from ${CALLS}, (${numbers(engine, calls)}) numbers where id = '${original}' order by n`,
  );
}

/** As the server itself does it in the background, sooner or later: here before the round rather than within. */
export async function settle(db: Knex, engine: Engine, table: string): Promise<void> {
  await db.raw(engine === "postgresql" ? `vacuum analyze ${table}` : `analyze table ${table}`);
}

/** What a copy does not take from its original; ids grow, as those that the library makes. */
const ownColumns: Record<Engine, (after: number) => Record<string, string>> = {
  postgresql: (after) => ({
    id: `('01900000-0000-7000-8000-' || lpad(to_hex(n + ${after}), 12, '0'))::uuid`,
    due_at: "created_at",
    first_due_at: "null",
  }),
  mysql: (after) => ({
    id: `concat('01900000-0000-7000-8000-', lpad(lower(hex(n + ${after})), 12, '0'))`,
    due_at: "created_at",
    first_due_at: "null",
  }),
};

function keyOf(engine: Engine, keys: number): string {
  return engine === "postgresql"
    ? `convert_to('customer ' || n % ${keys}, 'UTF8')`
    : `concat('customer ', n % ${keys})`;
}

async function columnsOf(db: Knex, engine: Engine): Promise<string[]> {
  const schema = engine === "postgresql" ? "current_schema()" : "database()";
  const rows = await db("information_schema.columns")
    .select(db.raw("column_name as name"))
    .where({ table_name: CALLS })
    .andWhereRaw(`table_schema = ${schema}`);
  return rows.map(({ name }: { name: string }) => name);
}

/** A table with the column `n` from 0 on. */
export function numbers(engine: Engine, count: number): string {
  if (engine === "postgresql") return `select generate_series(0, ${count - 1}) as n`;
  const digit = Array.from({ length: 10 }, (_, n) => `select ${n} as d`).join(" union all ");
  const places = Array.from({ length: String(count - 1).length }, (_, place) => place);
  const from = places.map((place) => `(${digit}) d${place}`).join(", ");
  const n = places.map((place) => `d${place}.d * ${10 ** place}`).join(" + ");
  return `select n from (select ${n} as n from ${from}) d where n < ${count}`;
}
