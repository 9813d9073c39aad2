/** A process of its own that relays, for tests that kill it: see `startWorker`. */
import knex from "knex";
import { createOutbox } from "../../src/index.js";
import type { WorkerTask } from "./workers.js";

const { client, url, tablePrefix, lease, hangsAt } = JSON.parse(process.argv[2]!) as WorkerTask;
const outbox = createOutbox({ knex: knex({ client, connection: url }), tablePrefix, lease });

async function run(call: string): Promise<void> {
  process.send!(call);
  if (call === hangsAt) await new Promise(() => {});
}

outbox.saveToOutbox((key: string, n: number) => run(`${key}${n}`), {
  name: "publish",
  strategy: "keep-order",
  stream: "orders",
  orderingKey: (key) => key,
});
outbox.saveToOutbox((n: number) => run(`send${n}`), { name: "send" });
outbox.startRelayer({ interval: 10 });
// A test run that is gone leaves no worker behind.
process.once("disconnect", () => process.exit(1));
