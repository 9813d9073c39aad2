/** A process that relays the orders' calls, and leaves the stream to others now and then: see `startRelays`. */
import { setTimeout as delay } from "node:timers/promises";
import knex from "knex";
import { createOutbox } from "../../src/index.js";
import { seeded } from "../support/random.js";
import { type OrderRun, publishOptions } from "./orders.js";
import type { RelayMessage, RelayOrder, RelayTask } from "./relays.js";

/** Runs after which the stream is left to another process. */
const TURN = 40;

const { client, url, tablePrefix, seed } = JSON.parse(process.argv[2]!) as RelayTask;
const db = knex({ client, connection: url });
const outbox = createOutbox({ knex: db, tablePrefix, retry: { initialDelay: 5, maxDelay: 20 }, pollInterval: 20 });
const random = seeded(seed);
const start = () => outbox.startRelayer({ stream: publishOptions.stream });
const tell = (message: RelayMessage) => process.send!(message);
/** The machine's clock, the same in every process. */
const now = () => Number(process.hrtime.bigint()) / 1e6;

let relayer = start();
let runs = 0;

async function stepBack(): Promise<void> {
  await relayer.stop();
  tell("stepped back");
}

outbox.saveToOutbox(async (order: string, key: string) => {
  const startedAt = now();
  await delay(random() * 2);
  const run: OrderRun = { order, key, startedAt, endedAt: now(), succeeded: random() >= 0.05 };
  tell(run);
  if (++runs % TURN === 0) void stepBack();
  if (!run.succeeded) throw new Error("the broker said no");
}, publishOptions);

process.on("message", (order: RelayOrder) => {
  if (order === "go on") relayer = start();
  else void outbox.close().then(() => process.disconnect());
});
tell("ready");
// Also where the test is gone.
process.once("disconnect", () => process.exit());
