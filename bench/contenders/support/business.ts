import type { Knex } from "knex";
import { performance } from "node:perf_hooks";
import type { Engine } from "../../harness/types.js";
import { numbers, settle } from "./carteiro-calls.js";

export const WRITERS = 8;
const ACCOUNTS = 10_000;

export async function createAccounts(db: Knex, engine: Engine): Promise<void> {
  await db.schema.createTable("accounts", (table) => {
    table.integer("id").primary();
    table.bigInteger("balance").notNullable();
  });
  await db.raw(`insert into accounts (id, balance) select n + 1, 0 from (${numbers(engine, ACCOUNTS)}) numbers`);
  await settle(db, engine, "accounts");
}

/** What the application itself does in its transaction. */
export async function updateAccount(trx: Knex.Transaction): Promise<void> {
  const id = 1 + Math.floor(Math.random() * ACCOUNTS);
  await trx("accounts").where({ id }).increment("balance", 1);
}

/** A key of as many as there are accounts. */
export function customer(): string {
  return `customer ${Math.floor(Math.random() * ACCOUNTS)}`;
}

/** Transactions by all writers, one after the other by each, for a round. @returns how many there were */
export async function write(roundMs: number, transact: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  let count = 0;
  const writer = async () => {
    for (; performance.now() - began < roundMs; count++) await transact();
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
  return count;
}

/** @returns transactions a second */
export async function rateOf(roundMs: number, transact: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  const count = await write(roundMs, transact);
  return (count * 1000) / (performance.now() - began);
}
