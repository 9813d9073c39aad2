/** A process of its own that relays, and ends at a certain call: see `crashing-calls.test.ts`. */
import { appendFileSync } from "node:fs";
import knex from "knex";
import { createOutbox, currentCall, type OnExhausted } from "../../src/index.js";

export interface CrashingTask {
  client: "pg" | "mysql2";
  url: string;
  tablePrefix: string;
  onExhausted: OnExhausted;
  /** A file that gets a line for each run. */
  journal: string;
  /** How a call of the name `killer` ends the process. */
  by: "exit" | "memory" | "endless loop";
}

const { client, url, tablePrefix, onExhausted, journal, by } = JSON.parse(process.argv[2]!) as CrashingTask;
const db = knex({ client, connection: url });
const outbox = createOutbox({ knex: db, tablePrefix, lease: 700, maxCrashes: 2, pollInterval: 20 });

const parent = process.ppid;

function run(name: string): void {
  // Written before the process ends, which would take a message along.
  appendFileSync(journal, `${JSON.stringify({ name, attempt: currentCall()!.attempt })}\n`);
  if (name !== "killer") return;
  if (by === "exit") process.exit(1);
  // Ends with whoever would have killed it.
  if (by === "endless loop") while (process.ppid === parent);
  const hoard: number[][] = [];
  for (;;) hoard.push(new Array<number>(1_000_000).fill(hoard.length));
}

outbox.saveToOutbox((name: string) => run(name), { name: "send" });
outbox.saveToOutbox((_key: string, name: string) => run(name), {
  name: "publish",
  strategy: "keep-order",
  stream: "orders",
  orderingKey: (key) => key,
  onExhausted,
});
outbox.startRelayer();
process.on("message", (ping) => process.send!(ping));
process.once("disconnect", () => process.exit(1));
