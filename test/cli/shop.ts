import type { Knex } from "knex";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { createOutbox, type Outbox } from "../../src/index.js";
import type { Engine, TestDatabase } from "../support/databases.js";
import { type App, createApp } from "./app.js";

/** The configuration of the application under test: an outbox on the database that the environment names. */
const CONFIGURATION = `
import { once } from "node:events";
import knex from "knex";
import { createOutbox } from "carteiro";

const outbox = createOutbox({
  knex: knex({ client: process.env.CLIENT, connection: process.env.URL, log: { warn() {}, error() {} } }),
  tablePrefix: process.env.TABLES,
});
outbox.saveToOutbox(async (name) => console.log("greeted", name), { name: "greet" });
outbox.saveToOutbox(async () => { throw new Error("no\\u001b[2J\\nway"); }, { name: "refuse" });
outbox.saveToOutbox(
  async () => {
    console.log("slow began");
    await once(process.stdin, "data");
    console.log("slow ended");
  },
  { name: "slow", strategy: "keep-order", stream: "slow" },
);
outbox.saveToOutbox(async (n) => console.log("ordered", n), { name: "order", strategy: "keep-order", stream: "orders" });
// Applications open what keeps their process alive: pools, timers, servers.
setInterval(() => {}, 1000);
export default outbox;
`;

/** The same application in the test's process: it stores calls, and the ones that it runs after the commit fail. */
interface Shop {
  readonly env: { CLIENT: string; URL: string; TABLES: string };
  readonly outbox: Outbox;
  readonly knex: Knex;
  /** Stores calls that failed once, and are due. */
  fail(...names: string[]): Promise<void>;
  refuse(): Promise<void>;
  /** Stores a keep-order call that runs until its process is given a line. */
  slow(): Promise<unknown>;
  order(n: number): Promise<unknown>;
  /** Stores a call of a function that the configuration does not register. */
  strange(): Promise<unknown>;
  close(): Promise<void>;
}

let shops = 0;

async function openShop(database: TestDatabase, { isMigrated = true } = {}): Promise<Shop> {
  const { client, url } = database.connection!;
  const tablePrefix = `t${(shops += 1)}_`;
  const outbox = createOutbox({
    knex: database.knex,
    tablePrefix,
    requireTransaction: false,
    retry: { initialDelay: 1, jitter: 0 },
  });
  if (isMigrated) await outbox.migrate();
  const down = async (_?: unknown) => {
    throw new Error("the test's process sends nothing");
  };
  const greet = outbox.saveToOutbox(down, { name: "greet" });
  const refuse = outbox.saveToOutbox(down, { name: "refuse" });
  const slow = outbox.saveToOutbox(async () => {}, { name: "slow", strategy: "keep-order", stream: "slow" });
  const order = outbox.saveToOutbox(down, { name: "order", strategy: "keep-order", stream: "orders" });
  const strange = outbox.saveToOutbox(async () => {}, { name: "strange", strategy: "keep-order", stream: "strange" });
  return {
    env: { CLIENT: client, URL: url, TABLES: tablePrefix },
    outbox,
    knex: database.knex,
    async fail(...names) {
      await outbox.transaction(() => Promise.all(names.map((name) => greet(name))));
      await outbox.idle();
    },
    async refuse() {
      await refuse();
      await outbox.idle();
    },
    slow,
    order,
    strange,
    close: () => outbox.close(),
  };
}

/** The application, with the configuration above; one for all tests. */
export function useApp(): App {
  const app = {} as App;
  beforeAll(async () => {
    Object.assign(app, await createApp());
    app.write("carteiro.config.mjs", CONFIGURATION);
  });
  afterAll(() => app.close());
  return app;
}

/** A shop with tables of its own for every test. */
export function useShop(engine: Engine, options?: { isMigrated: boolean }): Shop {
  const shop = {} as Shop;
  let database: TestDatabase;
  beforeAll(async () => {
    database = await engine.create();
  });
  beforeEach(async () => void Object.assign(shop, await openShop(database, options)));
  afterEach(() => shop.close());
  afterAll(() => database.close());
  return shop;
}
