/** A process that runs the calls of another: `carteiro-relay <options>`. */
import { setTimeout as delay } from "node:timers/promises";
import { createOutbox, type Strategy } from "../../src/index.js";
import { assist } from "../harness/assistant.js";
import { openKnex } from "../harness/open-knex.js";
import type { Engine } from "../harness/types.js";
import { type Order, STREAM } from "../contenders/support/carteiro-calls.js";
import { sharedNowMs } from "../contenders/support/latency.js";

export interface CarteiroRelayOptions {
  engine: Engine;
  url: string;
  strategy: Strategy;
  concurrency?: number;
  functionMs: number;
  /** It relays all the time, and reports when a function was entered; else it makes a pass when it is told to. */
  loops: boolean;
}

export type CarteiroRelayReport = { enteredAtMs: number } | { published: number };

const { engine, url, strategy, concurrency, functionMs, loops } = JSON.parse(process.argv[2]!) as CarteiroRelayOptions;
const db = openKnex(engine, url, 2);
const outbox = createOutbox({ knex: db, ...(concurrency !== undefined && { concurrency }) });
let onEntered = (_report: CarteiroRelayReport) => {};
outbox.saveToOutbox(
  async (_order: Order) => {
    if (loops) onEntered({ enteredAtMs: sharedNowMs() });
    if (functionMs > 0) await delay(functionMs);
  },
  { name: "publish", stream: STREAM, strategy },
);
await outbox.relay();
if (loops) outbox.startRelayer();
onEntered = assist<object, CarteiroRelayReport>(
  async (_order, report) => report({ published: (await outbox.relay()).published }),
  async () => {
    await outbox.close();
    await db.destroy();
  },
);
