import { type ChannelModel, type ConfirmChannel, connect } from "amqplib";
import { logger } from "./logger.js";

const EXCHANGE = "shop";
const QUEUE = "orders";
const CONNECT_TIMEOUT_MS = 5_000;
const HEARTBEAT_SECONDS = "10";

interface Link {
  connection: ChannelModel;
  channel: ConfirmChannel;
}

export interface PublishOptions {
  /** The same for every attempt: receivers tell repetitions by it. */
  messageId: string;
  /** Gives up waiting for the broker. */
  signal: AbortSignal;
}

/**
 * Publishes messages and waits until the broker has confirmed each. It connects when it is first needed, and again
 * after a connection was lost: it repeats nothing by itself, since whoever calls it does.
 */
export class Publisher {
  readonly #address: string;
  /** Messages that no queue took; the broker tells so just before it confirms them. */
  readonly #returned = new Set<string>();
  #link: Promise<Link> | undefined;

  constructor(url: string) {
    const address = new URL(url);
    // Without one of our own, a broker that vanished without a word is noticed after minutes.
    if (!address.searchParams.has("heartbeat")) address.searchParams.set("heartbeat", HEARTBEAT_SECONDS);
    this.#address = address.href;
  }

  /** Rejects unless the broker has written the message to a queue. It may have done so all the same. */
  async publish(routingKey: string, body: unknown, { messageId, signal }: PublishOptions): Promise<void> {
    const { channel } = await orAborted(this.#connected(), signal);
    const confirmed = new Promise<void>((resolve, reject) => {
      const options = { messageId, persistent: true, mandatory: true, contentType: "application/json" };
      channel.publish(EXCHANGE, routingKey, Buffer.from(JSON.stringify(body)), options, (error: Error | null) => {
        const wasReturned = this.#returned.delete(messageId);
        if (error) reject(error);
        else if (wasReturned) reject(new Error(`no queue takes ${routingKey} from the exchange ${EXCHANGE}`));
        else resolve();
      });
    });
    await orAborted(confirmed, signal);
  }

  async close(): Promise<void> {
    const link = await this.#link?.catch(() => undefined);
    await link?.connection.close();
  }

  #connected(): Promise<Link> {
    if (this.#link) return this.#link;
    const link = this.#connect();
    const forget = () => {
      if (this.#link === link) this.#link = undefined;
    };
    link.then(({ channel }) => channel.once("close", forget), forget);
    this.#link = link;
    return link;
  }

  async #connect(): Promise<Link> {
    const connection = await connect(this.#address, { timeout: CONNECT_TIMEOUT_MS, noDelay: true });
    connection.on("error", (error) => logger.warn({ err: error }, "the connection to the broker was lost"));
    try {
      const channel = await connection.createConfirmChannel();
      channel.on("error", (error) => logger.warn({ err: error }, "the broker closed the channel"));
      channel.on("return", ({ properties }) => this.#returned.add(String(properties.messageId)));
      // A channel can be closed alone; nothing else uses its connection, which has often gone already.
      channel.on("close", () => void connection.close().catch(() => undefined));
      await channel.assertExchange(EXCHANGE, "topic", { durable: true });
      await channel.assertQueue(QUEUE, { durable: true });
      await channel.bindQueue(QUEUE, EXCHANGE, "order.*");
      logger.info("connected to the broker");
      return { connection, channel };
    } catch (error) {
      await connection.close().catch(() => undefined);
      throw error;
    }
  }
}

/** The same promise, except that it rejects as soon as the signal aborts. */
function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason as Error);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
