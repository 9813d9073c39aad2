import { PGlite } from "@electric-sql/pglite";
import { createOutbox, currentCall, UnrecoverableError } from "carteiro";
import { createPGliteKnex } from "carteiro/pglite";
import { FlakyService } from "./flaky-service.js";

export interface Order {
  number: number;
  customer: string;
  item: string;
}

export type Step = "placed" | "paid" | "packed" | "shipped";

/** Short, so that nobody has to wait: the defaults are made for production. */
export const RECEIPT_RETRY = { initialDelay: 200, factor: 2, jitter: 0 };
export const ORDER_RETRY = { initialDelay: 300, factor: 1, jitter: 0 };
export const RETENTION_MS = 500;

/** The mail service's answer for an address that does not exist: trying again is pointless. */
export class NoSuchMailboxError extends Error {}

export type Shop = Awaited<ReturnType<typeof openShop>>;

/** A shop on a PostgreSQL of its own, in memory, with a mail service and a broker that fail when they are told to. */
export async function openShop() {
  const pglite = await PGlite.create();
  const db = createPGliteKnex(pglite);
  const mail = new FlakyService("mail service", 12);
  const broker = new FlakyService("broker", 8);

  const outbox = createOutbox({ knex: db, retry: RECEIPT_RETRY, retention: RETENTION_MS });
  await outbox.migrate();
  await db.schema.createTable("orders", (table) => {
    table.integer("number").primary();
    table.text("customer").notNullable();
    table.text("item").notNullable();
    table.text("status").notNullable().defaultTo("placed");
  });

  const sendReceipt = outbox.saveToOutbox(async function sendReceipt(order: Order) {
    try {
      await mail.deliver({ to: order.customer, subject: `receipt ${order.number}` }, idOfThisCall());
    } catch (error) {
      if (error instanceof NoSuchMailboxError) throw new UnrecoverableError(error.message, { cause: error });
      throw error;
    }
  });

  const askForReview = outbox.saveToOutbox(async function askForReview(order: Order) {
    await mail.deliver({ to: order.customer, subject: `how was the ${order.item}?` }, idOfThisCall());
  });

  const publishOrder = outbox.saveToOutbox(
    async function publishOrder(order: Order, step: Step) {
      await broker.deliver({ to: order.customer, subject: `order ${order.number} ${step}` }, idOfThisCall());
    },
    {
      stream: "orders",
      strategy: "keep-order",
      orderingKey: (order) => order.customer,
      deleteAfterSend: false,
      retry: ORDER_RETRY,
    },
  );

  let orders = 0;
  return {
    db,
    mail,
    broker,
    outbox,
    sendReceipt,
    askForReview,
    publishOrder,

    newOrder: (customer: string, item: string): Order => ({ number: ++orders, customer, item }),

    ordersOf: async (customer: string, trx = db): Promise<number> =>
      (await trx("orders").where({ customer }).select("number")).length,

    serverVersion: async (): Promise<string> => {
      const { rows } = await db.raw<{ rows: { server_version: string }[] }>("show server_version");
      return rows[0]!.server_version;
    },

    async close(): Promise<void> {
      await outbox.close();
      await db.destroy();
      await pglite.close();
    },
  };
}

function idOfThisCall(): string {
  const call = currentCall();
  if (!call) throw new Error("this function was called directly; it is made to be run by the outbox");
  return call.id;
}
