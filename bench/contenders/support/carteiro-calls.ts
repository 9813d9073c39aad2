import type { Knex } from "knex";
import { createOutbox, type Strategy } from "../../../src/index.js";
import type { Engine } from "../../harness/types.js";

/** What every call of the bench says. */
export const order = { orderId: 4711, total: 99.5, customer: "Ana Souza" };
export type Order = typeof order;

export const STREAM = "orders";
export const CALLS = "carteiro_calls";

export interface Backlog {
  calls: number;
  strategy: Strategy;
  /** Ordering keys that the calls take in turn; 0: none. */
  keys: number;
}

/** Leaves exactly so many due calls in the table: one is saved as any other is, and copied by the database. */
export async function seedCalls(db: Knex, engine: Engine, { calls, strategy, keys }: Backlog): Promise<void> {
  const outbox = createOutbox({ knex: db, ownConnections: 0 });
  const publish = outbox.saveToOutbox((_order: Order) => undefined, { name: "publish", stream: STREAM, strategy });
  await db.raw(`truncate table ${CALLS}`);
  // Due tomorrow, or else it would be run before it can be copied.
  const { id } = await outbox.transaction(() => publish.with({ delay: "1d" })(order));
  await outbox.close();
  const names = (await columnsOf(db, engine)).filter((name) => !["seq", ...Object.keys(own)].includes(name));
  const values = Object.values(own).map((value) => value[engine]);
  const key = keys === 0 ? "ordering_key" : keyOf(engine, keys);
  await db.raw(
    `insert into ${CALLS} (${[...Object.keys(own), "ordering_key", ...names].join(", ")})
     select ${[...values, key, ...names].join(", ")}
     from ${CALLS}, (${numbers(engine, calls)}) numbers where id = '${id}' order by n`,
  );
  await db(CALLS).where({ id }).delete();
  await settle(db, engine, CALLS);
}

/** As the server itself does it in the background, sooner or later: here before the round rather than within. */
export async function settle(db: Knex, engine: Engine, table: string): Promise<void> {
  await db.raw(engine === "postgresql" ? `vacuum analyze ${table}` : `analyze table ${table}`);
}

/** What a copy does not take from its original; ids grow, as those that the library makes. */
const own: Record<string, Record<Engine, string>> = {
  id: {
    postgresql: "('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid",
    mysql: "concat('01900000-0000-7000-8000-', lpad(lower(hex(n)), 12, '0'))",
  },
  due_at: { postgresql: "created_at", mysql: "created_at" },
  first_due_at: { postgresql: "null", mysql: "null" },
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
  return rows.map(({ name }: { name: string }) => name).filter((name) => name !== "ordering_key");
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
