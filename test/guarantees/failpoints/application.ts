import type { Knex } from "knex";
import type { Outbox, SavedFunction, Strategy } from "../../../src/index.js";

/** An order of the application: committed with its call, or not at all. */
export interface Order {
  id: string;
  key: string;
  /** Its place among the orders of its key, as they commit. */
  place: number;
}

/** A delivery, as its process told of it. */
export interface RunOfOrder {
  order: string;
  startedAt: number;
  endedAt: number;
  succeeded: boolean;
}

/** The end of an order's id whose first attempt fails. */
export const FAILS_FIRST = "-fails-first";

type Deliver = (order: string, key: string) => Promise<void>;

export interface Functions {
  /** Delivered, and then deleted. */
  deliver: SavedDeliver;
  /** Delivered, and then kept as sent. */
  deliverAndKeep: SavedDeliver;
}

type SavedDeliver = SavedFunction<[order: string, key: string], Promise<void>>;

export function ordersOf(knex: Knex, tablePrefix: string): Knex.QueryBuilder<Order, Order[]> {
  return knex<Order, Order[]>(`${tablePrefix}orders`);
}

export function createOrders(knex: Knex, tablePrefix: string): Promise<void> {
  return knex.schema.createTable(`${tablePrefix}orders`, (table) => {
    table.string("id").primary();
    table.string("key").notNullable();
    table.integer("place").notNullable();
  });
}

/** The same functions in the process that dies and in the one that takes over. */
export function registerFunctions(outbox: Outbox, strategy: Strategy, run: Deliver): Functions {
  const options = {
    stream: "orders",
    ...(strategy === "keep-order" ? { strategy, orderingKey: (_order: string, key: string) => key } : { strategy }),
    retry: { initialDelay: 1, factor: 1, jitter: 0 },
  } as const;
  return {
    deliver: outbox.saveToOutbox(run, { ...options, name: "deliver" }),
    deliverAndKeep: outbox.saveToOutbox(run, { ...options, name: "deliverAndKeep", deleteAfterSend: false }),
  };
}

/** Milliseconds of the machine's monotonic clock, the same in every process. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
