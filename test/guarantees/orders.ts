import { setTimeout as delay } from "node:timers/promises";
import type { Knex } from "knex";
import type { Outbox, SavedFunction } from "../../src/index.js";
import { checkHistory, type Faults, type Run } from "./history.js";

/** A run of `publish`, by the order that it is about. */
export interface OrderRun extends Omit<Run, "place"> {
  order: string;
}

/** How a transaction saves its call: by whom, and on which side of the application's own lock of the customer's row. */
export interface Way {
  by: "outbox.transaction" | ".in(trx)";
  saves: "before" | "after";
}

export const ways: readonly Way[] = [
  { by: "outbox.transaction", saves: "before" },
  { by: "outbox.transaction", saves: "after" },
  { by: ".in(trx)", saves: "before" },
  { by: ".in(trx)", saves: "after" },
];

const KEYS = ["a", "b", "c", "d", "e"];
const DEADLOCKS = new Set<unknown>(["40P01", "ER_LOCK_DEADLOCK", "ER_CHECKREAD"]);

/** What the function `publish` is wrapped with, in the writing process and in those that relay. */
export const publishOptions = {
  name: "publish",
  stream: "orders",
  strategy: "keep-order",
  orderingKey: (_order: string, customer: string) => customer,
} as const;

export type Publish = SavedFunction<[order: string, customer: string], unknown>;

/** An application whose customers place orders: a customer's row counts them, in the order of the commits. */
export class Shop {
  readonly #knex: Knex;
  readonly #outbox: Outbox;
  readonly #publish: Publish;

  constructor(knex: Knex, outbox: Outbox, publish: Publish) {
    this.#knex = knex;
    this.#outbox = outbox;
    this.#publish = publish;
  }

  async open(): Promise<void> {
    const { schema } = this.#knex;
    for (const table of ["orders", "customers"]) await schema.dropTableIfExists(table);
    await schema.createTable("customers", (table) => {
      table.string("name").primary();
      table.integer("orders").notNullable();
    });
    await schema.createTable("orders", (table) => {
      table.string("id").primary();
      table.string("customer").notNullable();
      table.integer("place").notNullable();
    });
    await this.#knex("customers").insert(KEYS.map((name) => ({ name, orders: 0 })));
  }

  /** @param pause awaited between the save and the lock of the customer's row, and before the transaction's end */
  place(order: string, customer: string, { by, saves }: Way, pause: () => Promise<unknown>): Promise<void> {
    const work = async (trx: Knex.Transaction) => {
      const save = by === ".in(trx)" ? this.#publish.in(trx) : this.#publish;
      if (saves === "before") await save(order, customer);
      await pause();
      const row = (await trx<{ name: string; orders: number }>("customers")
        .where({ name: customer })
        .forUpdate()
        .first("orders"))!;
      await trx("customers")
        .where({ name: customer })
        .update({ orders: row.orders + 1 });
      await trx("orders").insert({ id: order, customer, place: row.orders + 1 });
      if (saves === "after") await save(order, customer);
      await pause();
    };
    return by === ".in(trx)" ? this.#knex.transaction(work) : this.#outbox.transaction(work);
  }

  /**
   * Writers beside each other, with delays before their commits; about one transaction in seven rolls back.
   *
   * @returns the ways of the transactions that were a deadlock's victims
   */
  async write(random: () => number, writers: number, transactionsEach: number, among: readonly Way[]): Promise<Way[]> {
    const victims: Way[] = [];
    const write = async (writer: number) => {
      for (let n = 0; n < transactionsEach; n++) {
        const way = oneOf(among, random);
        const rollsBackAt = random() < 0.15 ? 2 : Infinity;
        let pauses = 0;
        const pause = async () => {
          await delay(random() * 3);
          if (++pauses === rollsBackAt) throw new Rollback();
        };
        try {
          await this.place(`${writer}-${n}`, oneOf(KEYS, random), way, pause);
        } catch (error) {
          if (isDeadlock(error)) victims.push(way);
          else if (!(error instanceof Rollback)) throw error;
        }
      }
    };
    await Promise.all(Array.from({ length: writers }, (_, writer) => write(writer)));
    return victims;
  }

  /** Holds what ran against what the application has committed. */
  async check(runs: readonly OrderRun[]): Promise<{ faults: Faults; orders: string[] }> {
    const rows = await this.#knex<{ id: string; customer: string; place: number }>("orders");
    const places = new Map(rows.map((row) => [row.id, row.place]));
    const committed = new Map<string, number>();
    for (const { customer } of rows) committed.set(customer, (committed.get(customer) ?? 0) + 1);
    const history = runs.map(({ order, ...run }) => ({ ...run, place: places.get(order) ?? Infinity }));
    return { faults: checkHistory(history, committed), orders: rows.map(({ id }) => id) };
  }
}

class Rollback extends Error {}

export function isDeadlock(error: unknown): boolean {
  return DEADLOCKS.has((error as { code?: unknown }).code);
}

function oneOf<T>(all: readonly T[], random: () => number): T {
  return all[Math.floor(random() * all.length)]!;
}
