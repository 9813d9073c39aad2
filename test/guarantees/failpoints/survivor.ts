import { setTimeout as delay } from "node:timers/promises";
import type { Knex } from "knex";
import { superjsonCodec } from "../../../src/codec.js";
import { createOutbox, currentCall, type Outbox, type Strategy } from "../../../src/index.js";
import { dialectOf } from "../../../src/store/own-connections.js";
import { up } from "../../../src/store/migrate.js";
import {
  createOrders,
  FAILS_FIRST,
  type Functions,
  now,
  type Order,
  ordersOf,
  registerFunctions,
  type RunOfOrder,
} from "./application.js";
import { scenarios, type ScenarioName } from "./scenarios.js";

/** What was there after a death, and what a fresh outbox made of it. */
export interface Aftermath {
  /** What was committed, whoever was told of it. */
  orders: Order[];
  /** Orders whose calls were stored and not settled, and orders whose calls were kept as sent. */
  left: string[];
  sent: string[];
  /** Of these, those that a cleaner could not delete in the end. */
  uncleaned: string[];
  /** Runs before the death of others than the dead, and after it. */
  before: RunOfOrder[];
  after: RunOfOrder[];
}

const DEADLINE_MS = 120_000;

interface Tables {
  knex: Knex;
  tablePrefix: string;
  strategy: Strategy;
  leaseMs: number;
}

/** Fills the tables for a scenario. @returns the runs that this took */
export async function prepare(tables: Tables, name: ScenarioName): Promise<RunOfOrder[]> {
  const { knex, tablePrefix } = tables;
  const scenario = scenarios[name];
  const runs: RunOfOrder[] = [];
  if (scenario.isUnmigrated) {
    await createOrders(knex, tablePrefix);
    return runs;
  }
  if (!(await knex.schema.hasTable(`${tablePrefix}orders`))) {
    await up(knex, { tablePrefix });
    await createOrders(knex, tablePrefix);
  }
  for (const table of ["calls", "keys", "orders"]) await knex(`${tablePrefix}${table}`).delete();
  if (scenario.prepare) {
    const { outbox, functions } = open(tables, runs);
    await scenario.prepare({ knex, outbox, tablePrefix, functions });
    await outbox.close();
  }
  return runs;
}

/** As if the dead had been dead for so long. */
async function endLeases(knex: Knex, tablePrefix: string): Promise<void> {
  const past = knex.raw(dialectOf(knex).after("-1"));
  await knex(`${tablePrefix}calls`).whereNotNull("lease_id").where({ state: "pending" }).update({ lease_until: past });
  await knex(`${tablePrefix}streams`).whereNotNull("lease_token").update({ lease_until: past });
}

/** Lets a fresh outbox bring the tables up to date, commit an order more, relay until nothing is left to run, and clean. */
export async function takeOver(tables: Tables, endsLeases: boolean): Promise<Omit<Aftermath, "before">> {
  const { knex, tablePrefix } = tables;
  const after: RunOfOrder[] = [];
  const { outbox, functions } = open(tables, after);
  try {
    await outbox.migrate();
    if (endsLeases) await endLeases(knex, tablePrefix);
    const { left, sent } = await storedOrders(knex, tablePrefix);
    const one: Order = { id: "z1", key: "z", place: 1 };
    await outbox.transaction(async (trx) => {
      await ordersOf(trx, tablePrefix).insert(one);
      await functions.deliver(one.id, one.key);
    });
    const deadline = performance.now() + DEADLINE_MS;
    while ((await storedOrders(knex, tablePrefix)).left.length > 0) {
      const relayed = await outbox.relay();
      if (performance.now() > deadline) throw new Error(await stillLeft(knex, tablePrefix, relayed));
      // Many outboxes look at once, until the leases of the dead have ended.
      await delay(100);
    }
    await outbox.idle();
    await outbox.clean({ olderThan: 0 });
    const uncleaned = (await storedOrders(knex, tablePrefix)).sent;
    return { orders: await ordersOf(knex, tablePrefix), left: [...left, one.id], sent, uncleaned, after };
  } finally {
    await outbox.close();
  }
}

function open(
  { knex, tablePrefix, strategy, leaseMs }: Tables,
  runs: RunOfOrder[],
): { outbox: Outbox; functions: Functions } {
  const outbox = createOutbox({ knex, tablePrefix, lease: leaseMs, ownConnections: 1 });
  const functions = registerFunctions(outbox, strategy, async (order) => {
    const startedAt = now();
    const succeeded = !order.endsWith(FAILS_FIRST) || currentCall()!.attempt > 1;
    runs.push({ order, startedAt, endedAt: now(), succeeded });
    if (!succeeded) throw new Error("not at the first attempt");
  });
  return { outbox, functions };
}

async function stillLeft(knex: Knex, tablePrefix: string, relayed: object): Promise<string> {
  const calls = await knex<Record<string, unknown>>(`${tablePrefix}calls`)
    .select("seq", "state", "payload", "due_at", "attempts", "lease_id", "last_error")
    .orderBy("seq");
  const [keys, streams] = await Promise.all(
    ["keys", "streams"].map((table) => knex<Record<string, unknown>>(`${tablePrefix}${table}`).select()),
  );
  return `calls are left: ${JSON.stringify({ now: new Date(), relayed, calls, keys, streams })}`;
}

async function storedOrders(knex: Knex, tablePrefix: string): Promise<{ left: string[]; sent: string[] }> {
  const rows = await knex<{ state: string; payload: string }>(`${tablePrefix}calls`).select("state", "payload");
  const of = (isSent: boolean) =>
    rows
      .filter(({ state }) => (state === "sent") === isSent)
      .map(({ payload }) => (superjsonCodec.decode(payload) as string[])[0]!);
  return { left: of(false), sent: of(true) };
}
