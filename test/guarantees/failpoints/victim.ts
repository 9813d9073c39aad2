/** The process that is killed: it plays one scenario many times at once, each on tables, and through a proxy, of its own. */
import { setTimeout as delay } from "node:timers/promises";
import knex from "knex";
import { createOutbox, currentCall } from "../../../src/index.js";
import { FAILS_FIRST, now, registerFunctions } from "./application.js";
import { scenarios } from "./scenarios.js";
import type { Tidings, VictimTask } from "./cohort.js";

const { scenario: name, strategy, client, leaseMs, parts } = JSON.parse(process.argv[2]!) as VictimTask;
const scenario = scenarios[name];
// Knex warns of connections that break; here they do so for a purpose.
const log = { warn() {}, error() {}, deprecate() {}, debug() {} };

async function play({ url, tablePrefix, hangs }: VictimTask["parts"][number]): Promise<void> {
  const tell = (tidings: Omit<Tidings, "tablePrefix">) => process.send!({ tablePrefix, at: now(), ...tidings });
  const db = knex({ client, connection: url, log, pool: { min: 0, max: 2 } });
  const outbox = createOutbox({ knex: db, tablePrefix, lease: leaseMs });
  let begun = 0;
  let open = () => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  const functions = registerFunctions(outbox, strategy, async (order) => {
    tell({ what: "began", order });
    begun += 1;
    if (hangs) await new Promise(() => {});
    if (begun >= (scenario.together ?? 0)) open();
    await opened;
    if (scenario.lease) await delay(scenario.lease.runMs);
    if (order.endsWith(FAILS_FIRST) && currentCall()?.attempt === 1) {
      tell({ what: "failed", order });
      throw new Error("not at the first attempt");
    }
    tell({ what: "succeeded", order });
  });
  outbox.on("published", ({ call }) => tell({ what: "published", order: call.args[0] as string }));
  try {
    await scenario.act({ knex: db, outbox, tablePrefix, functions });
    await outbox.idle();
    tell({ what: "through" });
  } catch (error) {
    tell({ what: "threw", order: String((error as Error).stack) });
  }
}

for (const part of parts) void play(part);
// A test run that is gone leaves no victim behind.
process.once("disconnect", () => process.exit(1));
setInterval(() => {}, 60_000);
