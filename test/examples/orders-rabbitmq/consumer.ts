import { connect, type ConsumeMessage } from "amqplib";
import type { Order } from "../../../examples/orders-rabbitmq/order.js";

const queue = "orders";

/** A message as it came over the wire, where a date is a text. */
export type PublishedOrder = Omit<Order, "placedAt"> & { placedAt: string };

export interface Delivery {
  messageId: string;
  order: PublishedOrder;
}

/** Somebody else's service: it takes orders from the durable queue and acknowledges each. */
export class Consumer {
  /** In the order in which they came, repetitions too. */
  readonly deliveries: Delivery[] = [];
  readonly #url: string;
  readonly #seen = new Set<string>();
  #close: (() => Promise<void>) | undefined;

  constructor(url: string) {
    this.#url = url;
  }

  /** The first delivery of each message id: what a receiver that knows the ids makes of it. */
  get orders(): PublishedOrder[] {
    const seen = new Set<string>();
    return this.deliveries
      .filter(({ messageId }) => !seen.has(messageId) && seen.add(messageId))
      .map(({ order }) => order);
  }

  /** How many different messages came. */
  get count(): number {
    return this.#seen.size;
  }

  async connect(): Promise<void> {
    const connection = await connect(this.#url);
    connection.on("error", () => {});
    const channel = await connection.createChannel();
    channel.on("error", () => {});
    await channel.assertQueue(queue, { durable: true });
    await channel.prefetch(20);
    await channel.consume(queue, (message) => {
      if (!message) return;
      this.#take(message);
      channel.ack(message);
    });
    connection.on("close", () => (this.#close = undefined));
    this.#close = () => connection.close();
  }

  async close(): Promise<void> {
    await this.#close?.();
  }

  #take(message: ConsumeMessage): void {
    const messageId = String(message.properties.messageId);
    this.#seen.add(messageId);
    this.deliveries.push({ messageId, order: JSON.parse(message.content.toString()) as PublishedOrder });
  }
}
