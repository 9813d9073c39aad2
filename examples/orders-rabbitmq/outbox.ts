import { createOutbox, currentCall } from "carteiro";
import { db } from "./database.js";
import { logger } from "./logger.js";
import { sendConfirmationMail } from "./mail.js";
import type { Order } from "./order.js";
import { Publisher } from "./publisher.js";
import { settings } from "./settings.js";

export const outbox = createOutbox({ knex: db, lease: settings.lease, logger });
export const publisher = new Publisher(settings.amqpUrl);

/** Tells the rest of the company about an order: each customer's orders in the order in which they were placed. */
export const publishOrder = outbox.saveToOutbox(
  async (order: Order): Promise<void> => {
    const { id, signal } = currentCall()!;
    await publisher.publish("order.placed", order, { messageId: id, signal });
  },
  {
    name: "publishOrder",
    stream: "orders",
    strategy: "keep-order",
    orderingKey: (order) => order.customerId,
    // A broker restarts within seconds, and a customer's later orders wait for the first: long delays help nobody.
    retry: { initialDelay: "200ms", maxDelay: "5s" },
  },
);

/** Confirms an order to the customer, as soon as it is committed. */
export const sendConfirmation = outbox.saveToOutbox(
  async (order: Order): Promise<void> => {
    const { id, createdAt, signal } = currentCall()!;
    await sendConfirmationMail(order, { id, date: createdAt, signal });
  },
  { name: "sendConfirmation", stream: "mails" },
);
