/** What keys that stand aside cost the others of their stream: `npm run bench:held-keys`. */
import { performance } from "node:perf_hooks";
import { createOutbox, type Outbox, type SavedFunction } from "../src/index.js";
import { compare } from "./harness/rounds.js";
import { onEachServer } from "./harness/servers.js";
import { type BenchServer } from "./harness/types.js";

const ROUNDS = 9;
const CALLS_BEHIND = 100_000;
const BLOCKED_KEYS = 10_000;
/** Calls of other keys that a round relays. */
const CALLS = 3000;
const OTHER_KEYS = 300;
const STREAM = "orders";

/** One outbox with tables of its own, and what is done to it before the rounds. */
interface Scene {
  outbox: Outbox;
  /** Fails for keys that begin with `held`. */
  publish: SavedFunction<[key: string, n: number], unknown>;
  /** A function that no relaying process knows. */
  unknown: SavedFunction<[key: string, n: number], unknown>;
  /** Stores the only stored call once more, so many times. */
  repeat(times: number): Promise<void>;
}

type Prepare = (scene: Scene) => Promise<unknown>;

const ALONE = "alone";

const situations: Record<string, Prepare> = {
  [ALONE]: async () => {},
  [`behind a key with ${CALLS_BEHIND} calls behind its failing head`]: async ({ outbox, publish, repeat }) => {
    await outbox.transaction(() => publish("held", 0));
    await repeat(CALLS_BEHIND);
  },
  [`beside ${BLOCKED_KEYS} blocked keys`]: async ({ outbox, publish }) => {
    for (let from = 0; from < BLOCKED_KEYS; from += 1000) {
      await outbox.transaction(async () => {
        for (let n = from; n < from + 1000; n++) await publish(`held ${n}`, n);
      });
    }
  },
  [`behind a parked key with ${CALLS_BEHIND} calls`]: async ({ outbox, publish, repeat }) => {
    await outbox.transaction(() => publish("parked", 0));
    await repeat(CALLS_BEHIND);
    await outbox.keys.park({ stream: STREAM, orderingKey: "parked" });
  },
  [`behind an unroutable head with ${CALLS_BEHIND} calls behind it`]: async ({ outbox, unknown, repeat }) => {
    await outbox.transaction(() => unknown("held", 0));
    await repeat(CALLS_BEHIND);
  },
};

await onEachServer(bench);

async function bench(server: BenchServer): Promise<void> {
  console.log(`\n${server.title}, ${CALLS} calls of ${OTHER_KEYS} other keys a round`);
  const variants = [];
  const opened: Outbox[] = [];
  for (const [index, [name, prepare]] of Object.entries(situations).entries()) {
    const scene = await open(server, `scene${index}_`);
    opened.push(scene.outbox);
    await prepare(scene);
    const began = performance.now();
    await scene.outbox.relay();
    if (name !== ALONE) console.log(`  the first pass ${name}: ${((performance.now() - began) / 1000).toFixed(1)} s`);
    variants.push({ name, measure: () => pace(scene), ...(name === ALONE ? {} : { against: ALONE }) });
  }
  await compare("relayed in a pass", "calls/s", variants, ROUNDS);
  await Promise.all(opened.map((outbox) => outbox.close()));
}

async function open(server: BenchServer, tablePrefix: string): Promise<Scene> {
  const db = server.newKnex(4);
  const retry = { initialDelay: "1d", maxDelay: "1d" } as const;
  const outbox = createOutbox({ knex: db, tablePrefix, strategy: "keep-order", retry });
  const options = { stream: STREAM, orderingKey: (key: string) => key };
  const publish = outbox.saveToOutbox(
    async (key: string, _n: number) => {
      if (key.startsWith("held")) throw new Error("the receiver is down");
    },
    { name: "publish", ...options },
  );
  const elsewhere = createOutbox({ knex: db, tablePrefix, strategy: "keep-order" });
  const wrapped = elsewhere.saveToOutbox((_key: string, _n: number) => undefined, { name: "unknown", ...options });
  await outbox.migrate();
  return {
    outbox,
    publish,
    unknown: Object.assign((key: string, n: number) => elsewhere.transaction(() => wrapped(key, n)), wrapped),
    async repeat(times) {
      const digits = Array.from({ length: 10 }, (_, n) => `select ${n} as n`).join(" union all ");
      const places = Array.from(String(times).slice(1), (_, n) => `(${digits}) d${n}`);
      const columns =
        "function_name, stream, strategy, ordering_key, state, due_at, codec, version, headers, payload, created_at";
      await db.raw(
        `insert into ${tablePrefix}calls (id, ${columns})
         select ${server.isPostgres ? "gen_random_uuid()" : "uuid()"}, ${columns} from ${tablePrefix}calls, ${places.join(", ")}`,
      );
    },
  };
}

/** @returns calls a second */
async function pace({ outbox, publish }: Scene): Promise<number> {
  for (let from = 0; from < CALLS; from += 1000) {
    await outbox.transaction(async () => {
      for (let n = from; n < from + 1000; n++) await publish(`other ${n % OTHER_KEYS}`, n);
    });
  }
  const began = performance.now();
  const { published } = await outbox.relay({ stream: STREAM });
  const tookMs = performance.now() - began;
  if (published !== CALLS) throw new Error(`${published} calls were relayed, and not ${CALLS}`);
  return (CALLS * 1000) / tookMs;
}
