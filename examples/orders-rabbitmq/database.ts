import knex from "knex";
import { logger } from "./logger.js";
import { settings } from "./settings.js";

export const db = knex({
  client: "pg",
  connection: settings.databaseUrl,
  log: { warn: (message) => logger.warn(message), error: (message) => logger.error(message) },
});

/** The constraint that keeps more from being sold than there is. */
const IN_STOCK = "products_in_stock";
/** PostgreSQL's `check_violation`. */
const CHECK_VIOLATION = "23514";

/** Creates the shop's own tables, with a few products, where they are not there yet. */
export async function createTables(): Promise<void> {
  await db.raw(`
    create table if not exists products (
      sku text primary key,
      stock integer not null constraint ${IN_STOCK} check (stock >= 0)
    );
    create table if not exists customers (
      id text primary key,
      last_order integer not null
    );
    create table if not exists orders (
      id uuid primary key,
      customer_id text not null references customers (id),
      number integer not null,
      email text not null,
      items jsonb not null,
      placed_at timestamptz not null,
      unique (customer_id, number)
    );
    insert into products (sku, stock) values ('lamp', 1000), ('chair', 1000), ('unicorn', 0) on conflict do nothing;
  `);
}

/** Whether a statement failed because it would have sold more than there is. */
export function isOutOfStock(error: unknown): boolean {
  const { code, constraint } = error as { code?: unknown; constraint?: unknown };
  return code === CHECK_VIOLATION && constraint === IN_STOCK;
}

/** Resolves when the database answers. */
export async function checkHealth(): Promise<void> {
  await db.raw("select 1").timeout(2_000);
}
