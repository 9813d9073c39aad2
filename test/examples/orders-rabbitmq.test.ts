import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { Publisher } from "../../examples/orders-rabbitmq/publisher.js";
import { createOutbox, type Outbox } from "../../src/index.js";
import { engines, type TestDatabase } from "../support/databases.js";
import { findRabbitmq, rabbitmqMissing, startRabbitmq, type TestBroker } from "../support/servers/rabbitmq.js";
import type { ServerProcess } from "../support/servers/server-process.js";
import { Consumer } from "./orders-rabbitmq/consumer.js";
import { MailSink } from "./orders-rabbitmq/mail-sink.js";
import { customers, OrderClients, postOrder, scarce, soldOut } from "./orders-rabbitmq/order-clients.js";
import { startService } from "./orders-rabbitmq/service.js";

vi.hoisted(() => vi.stubEnv("LOG_LEVEL", "silent"));

const postgres = engines.find(({ name }) => name === "postgresql");
const missing = findRabbitmq() ? (postgres ? postgres.skipReason : "PostgreSQL is missing.") : rabbitmqMissing;
if (missing !== undefined) {
  if (process.env.CI) throw new Error(`CI is set, so nothing may be missing. ${missing}`);
  console.warn(`${missing} The tests of examples/orders-rabbitmq are skipped.`);
}

/** For what several processes do together, on a machine that is busy with other tests. */
const patience = { timeout: 60_000, interval: 10 };
const scarceStock = 25;

describe.skipIf(missing !== undefined)("examples/orders-rabbitmq", () => {
  let database: TestDatabase;
  let broker: TestBroker;
  let sink: MailSink;
  let consumer: Consumer;
  let service: ServerProcess;
  /** Looks at the calls from outside, and runs none. */
  let onlooker: Outbox;
  let url = "";
  let serviceIsUp = Promise.resolve();

  beforeAll(async () => {
    sink = new MailSink();
    [database, broker] = await Promise.all([postgres!.create(), startRabbitmq()]);
    service = await startService({
      databaseUrl: database.connection!.url,
      amqpUrl: broker.url,
      smtpUrl: await sink.listen(),
    });
    url = `http://127.0.0.1:${service.port}`;
    onlooker = createOutbox({ knex: database.knex });
    const more = { table: 1000, [scarce]: scarceStock };
    await database.knex("products").insert(Object.entries(more).map(([sku, stock]) => ({ sku, stock })));
    consumer = new Consumer(broker.url);
    await consumer.connect();
  }, 120_000);

  afterAll(async () => {
    await service?.stop();
    await consumer?.close();
    await Promise.all([broker?.stop(), sink?.close(), onlooker?.close()]);
    await database?.close();
  }, 60_000);

  test("tells its clients what is wrong with an order", async () => {
    const order = { customerId: "somebody", email: "somebody@mail.example", items: [{ sku: "lamp", quantity: 1 }] };
    const items = (sku: string, quantity: unknown) => ({ ...order, items: [{ sku, quantity }] });
    expect(await postOrder(url, items(soldOut, 1))).toEqual({ status: 409, body: { error: "not enough of unicorn" } });
    expect(await postOrder(url, items("ufo", 1))).toEqual({ status: 422, body: { error: "there is no product ufo" } });
    expect(await postOrder(url, items("lamp", "1"))).toMatchObject({ status: 400 });
    expect(await postOrder(url, { ...order, items: [] })).toMatchObject({ status: 400 });
    expect(await postOrder(url, { ...order, customerId: "" })).toMatchObject({ status: 400 });
    expect((await fetch(`${url}/orders`, { method: "POST", body: "{" })).status).toBe(400);
    expect((await fetch(`${url}/orders`)).status).toBe(404);
    expect(await database.knex("orders")).toEqual([]);
    expect(await onlooker.calls.list()).toEqual([]);
  });

  test("does not take a message for delivered that no queue took", async () => {
    const publisher = new Publisher(broker.url);
    const publish = (routingKey: string) =>
      publisher.publish(routingKey, {}, { messageId: "some-id", signal: AbortSignal.timeout(10_000) });
    await expect(publish("parcel.lost")).rejects.toThrow("no queue takes parcel.lost");
    await expect(publish("parcel.lost")).rejects.toThrow("no queue takes parcel.lost");
    await publisher.close();
  });

  test("gives up on a broker that says nothing, once the call's signal aborts", async () => {
    const silent = createServer().listen(0, "127.0.0.1");
    await once(silent, "listening");
    const publisher = new Publisher(`amqp://127.0.0.1:${(silent.address() as AddressInfo).port}`);
    const stop = new AbortController();
    const connected = once(silent, "connection");
    const publishing = publisher.publish("order.placed", {}, { messageId: "some-id", signal: stop.signal });
    const [socket] = (await connected) as [Socket];
    stop.abort(new Error("the run took too long"));
    await expect(publishing).rejects.toThrow("the run took too long");
    socket.destroy();
    silent.close();
    await publisher.close();
  });

  test("loses, invents and reorders nothing, whatever goes away", { timeout: 240_000 }, async () => {
    const clients = new OrderClients(url, () => serviceIsUp);
    const { outcomes } = clients;
    const placed = (count: number) =>
      vi.waitFor(() => expect(outcomes.placed.length).toBeGreaterThanOrEqual(count), patience);

    // The broker goes away while orders are placed and published.
    await clients.place(60);
    await vi.waitFor(() => expect(consumer.count).toBeGreaterThan(20), patience);
    await Promise.all([clients.place(60), broker.halt()]);
    for (const port of broker.ports.slice(0, 2)) expect(await isOpen(port)).toBe(false);
    const arrived = consumer.count;
    await clients.place(100);
    await vi.waitFor(async () => expect(await sumOverStreams("blockedKeys")).toBe(customers), patience);

    // It comes back, with what it had, to a service with more to publish than ever.
    await Promise.all([broker.start().then(() => consumer.connect()), clients.place(60)]);
    await vi.waitFor(() => expect(consumer.count).toBeGreaterThan(arrived + 20), patience);

    // The service is killed in the midst of a request and of a run, and another one takes over.
    const letGo = await holdCustomer("customer-0");
    const answer = sink.hold();
    const placing = clients.place(120);
    await placed(outcomes.placed.length + 10);
    await vi.waitFor(() => expect(sink.waiting).toBeGreaterThan(1), patience);
    serviceIsUp = service.halt("kill").then(async () => {
      await letGo();
      answer();
      await service.start();
    });
    await placing;
    expect(outcomes.unanswered).toBeGreaterThan(0);

    await vi.waitFor(async () => expect(await onlooker.calls.list({ limit: 1 })).toEqual([]), patience);
    const orders = await storedOrders();
    await vi.waitFor(() => expect(consumer.count).toBeGreaterThanOrEqual(orders.length), patience);

    const ids = orders.map(({ id }) => id);
    expect(ids).toEqual(expect.arrayContaining(outcomes.placed));
    expect(outcomes.placed.length).toBeGreaterThan(200);
    expect(outcomes.refused[409]).toBeGreaterThan(50);
    expect(outcomes.refused[422]).toBeGreaterThan(20);

    // Arrived: what is stored and nothing else, in each customer's order.
    expect(byCustomer(consumer.orders)).toEqual(byCustomer(orders));
    for (const numbers of byCustomer(orders).values()) {
      expect(numbers.map(({ number }) => number)).toEqual(numbers.map((_, index) => index + 1));
    }
    const skus = consumer.orders.flatMap(({ items }) => items.map(({ sku }) => sku));
    expect(skus).not.toContain(soldOut);
    expect(skus.filter((sku) => sku === scarce)).toHaveLength(scarceStock);

    // Repetitions are told by their ids.
    expect(consumer.count).toBe(orders.length);
    expect(new Set(consumer.deliveries.map(({ order }) => order.id)).size).toBe(orders.length);
    expect(new Set(sink.mails.map(({ messageId }) => messageId)).size).toBe(orders.length);
    expect(sink.mails.length).toBeGreaterThan(orders.length);
    expect(sink.refused).toBeGreaterThan(0);
    const confirmed = new Map(sink.mails.map(({ orderId, recipients }) => [orderId, recipients]));
    expect(confirmed).toEqual(new Map(orders.map(({ id, email }) => [id, [email]])));
  });

  test("finishes its requests and its runs when it is told to stop", async () => {
    const order = { email: "late@mail.example", items: [{ sku: "lamp", quantity: 1 }] };
    sink.isBusy = false;
    const answer = sink.hold();
    const running = await postOrder(url, { ...order, customerId: "customer-1" });
    await vi.waitFor(() => expect(sink.waiting).toBe(1), patience);
    const letGo = await holdCustomer("customer-2");
    const inFlight = postOrder(url, { ...order, customerId: "customer-2" });
    await vi.waitFor(async () => expect(await blockedQueries()).toBe(1), patience);

    const halted = service.halt("fast");
    const log = () => readFileSync(join(service.folder, "server.log"), "utf8");
    await vi.waitFor(() => expect(log()).toContain('"stopping"'), patience);
    await letGo();
    expect(await inFlight).toMatchObject({ status: 201, body: { customerId: "customer-2" } });
    answer();
    await halted;

    expect(log()).toContain('"stopped"');
    expect(log()).not.toContain('"level":60');
    expect(sink.mails.map(({ orderId }) => orderId)).toContain(running.body.id);
    expect(await sumOverStreams("running")).toBe(0);
  });

  test("leaves neither broker nor port mapper behind", async () => {
    const { folder, pids, ports } = broker;
    expect(pids).not.toEqual([]);
    await broker.stop();
    for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow("ESRCH");
    for (const port of ports) expect(await isOpen(port)).toBe(false);
    expect(existsSync(folder)).toBe(false);
  });

  /** A customer's orders wait in the database until the function that it returns is called. */
  async function holdCustomer(id: string): Promise<() => Promise<void>> {
    const trx = await database.knex.transaction();
    await trx("customers").where({ id }).forUpdate().select("id");
    return async () => {
      await trx.rollback();
    };
  }

  async function sumOverStreams(figure: "running" | "blockedKeys"): Promise<number> {
    return (await onlooker.streams.list()).reduce((sum, stream) => sum + stream[figure], 0);
  }

  async function blockedQueries(): Promise<number> {
    const rows = await database
      .knex("pg_stat_activity")
      .whereRaw("datname = current_database()")
      .where("wait_event_type", "Lock");
    return rows.length;
  }

  async function storedOrders(): Promise<StoredOrder[]> {
    return database
      .knex<StoredOrder>("orders")
      .select("id", "customer_id as customerId", "number", "email")
      .orderBy(["customer_id", "number"]);
  }
});

interface StoredOrder {
  id: string;
  customerId: string;
  number: number;
  email: string;
}

function byCustomer(orders: Omit<StoredOrder, "email">[]): Map<string, { id: string; number: number }[]> {
  const theirs = new Map<string, { id: string; number: number }[]>();
  for (const { customerId, id, number } of orders) {
    theirs.set(customerId, [...(theirs.get(customerId) ?? []), { id, number }]);
  }
  return theirs;
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("error", () => resolve(false));
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
  });
}
