import { expect, it, vi } from "vitest";
import { currentCall, type Outbox } from "../../src/index.js";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { seeded } from "../support/random.js";
import { until } from "../support/waiting.js";

const KEYS = ["a", "b", "c", "d", "e"];
const CALLS = 600;
const STEPS = 60;
const CONCURRENCY = 4;
const RELAYS = 3;

interface Start {
  id: string;
  key: string;
  n: number;
  at: number;
  failed: boolean;
}

/** While these stand, what they name must not start, or hardly. */
interface Ban {
  what: string;
  from: number;
  until: number;
  /** Starts that were on their way. */
  most: number;
  covers: (start: Start) => boolean;
}

describeEachServer("a person's hands, while three relays run", (engine) => {
  vi.setConfig({ testTimeout: 180_000 });
  const outboxes = useOutboxes(engine);

  it.each([1, 2, 3])("stop what they stop, and lose and reorder nothing else (seed %i)", async (seed) => {
    const random = seeded(seed);
    const starts: Start[] = [];
    const bans: Ban[] = [];
    const gone = new Set<string>();
    /** By call: whether it fails at first, and how long it takes. Drawn once: the order of the runs is not the seed's. */
    const fates = new Map<string, { fails: boolean; ms: number }>();
    const oneOf = <T>(all: readonly T[]): T => all[Math.floor(random() * all.length)] as T;

    function open(outbox: Outbox) {
      const run = async (key: string, n: number) => {
        const { id, attempt } = currentCall()!;
        const { fails, ms } = fates.get(`${key}${n}`)!;
        const failed = fails && attempt === 1;
        starts.push({ id, key, n, at: performance.now(), failed });
        await new Promise((resolve) => setTimeout(resolve, ms));
        if (failed) throw new Error("one in twenty");
      };
      const retry = { initialDelay: 20, factor: 1 };
      const publish = outbox.saveToOutbox(run, {
        name: "publish",
        strategy: "keep-order",
        stream: "orders",
        orderingKey: (key) => key,
        retry,
      });
      const send = outbox.saveToOutbox(run, { name: "send", stream: "mails", retry });
      return { outbox, publish, send };
    }
    const options = { pollInterval: 25, lease: 20_000, concurrency: CONCURRENCY };
    const [first, ...others] = [
      open(outboxes.open(options)),
      open(outboxes.openRival(options)),
      open(outboxes.openRival(options)),
    ] as const;
    const saved: { id: string; key: string; n: number; isOrdered: boolean }[] = [];
    for (let n = 1; n <= CALLS / KEYS.length; n++) {
      await first.outbox.transaction(async () => {
        for (const key of KEYS) {
          for (const of of [key, `mail-${key}`]) fates.set(`${of}${n}`, { fails: random() < 0.05, ms: random() * 20 });
          saved.push({ ...(await first.publish(key, n)), key, n, isOrdered: true });
          saved.push({ ...(await first.send.with({ delay: 1 })(`mail-${key}`, n)), key, n, isOrdered: false });
        }
      });
    }
    for (const { outbox } of [first, ...others]) outbox.startRelayer();

    const operator = outboxes.openRival();
    /** From the answer to an action on, until `undo` is asked for. */
    async function ban(what: string, covers: Ban["covers"], undo?: () => Promise<unknown>, most = 0): Promise<void> {
      const one: Ban = { what, from: performance.now(), until: Infinity, most, covers };
      bans.push(one);
      if (!undo) return;
      await new Promise((resolve) => setTimeout(resolve, random() * 60));
      one.until = performance.now();
      await undo();
    }
    const actions: (() => Promise<void>)[] = [
      async () => {
        const stream = oneOf(["orders", "mails"]);
        await operator.streams.pause(stream);
        const isOrders = stream === "orders";
        // Publish-on-commit calls that were claimed at that moment may begin, as many as 20 ms take: documented.
        const most = isOrders ? 0 : RELAYS * CONCURRENCY * 3;
        const covers = ({ key }: Start) => key.startsWith("mail") !== isOrders;
        await ban(`paused ${stream}`, covers, () => operator.streams.resume(stream), most);
      },
      async () => {
        const orderingKey = oneOf(KEYS);
        await operator.keys.park({ stream: "orders", orderingKey });
        await ban(
          `parked ${orderingKey}`,
          ({ key }) => key === orderingKey,
          () => operator.keys.resume({ stream: "orders", orderingKey }),
        );
      },
      async () => {
        const ids = Array.from({ length: 5 }, () => oneOf(saved).id);
        for (const id of new Set(ids)) {
          if ((await operator.calls.discard(id)).discarded === 0) continue;
          gone.add(id);
          await ban(`discarded ${id}`, (start) => start.id === id);
        }
      },
      async () => {
        const head = await operator.keys.skipHead({ stream: "orders", orderingKey: oneOf(KEYS) });
        if (!head?.skipped) return;
        gone.add(head.id);
        await ban(`skipped ${head.id}`, ({ id }) => id === head.id);
      },
      async () => {
        await operator.keys.retryHead({ stream: "orders", orderingKey: oneOf(KEYS) });
      },
      async () => {
        await operator.calls.retry({ state: "blocked" });
      },
    ];
    for (let step = 0; step < STEPS; step++) await oneOf(actions)();
    const unsettled = async () => (await operator.calls.list({ limit: 1000 })).filter(({ state }) => state !== "dead");
    await until("all others have run", async () => (await unsettled()).length === 0, 120_000);

    const violations = bans.flatMap(({ what, from, until: to, most, covers }) => {
      const begun = starts.filter((start) => start.at > from && start.at < to && covers(start));
      return begun.length > most ? begun.map(({ id }) => `${what}: ${id}`) : [];
    });
    expect(violations).toEqual([]);
    for (const key of KEYS) {
      const expected = saved
        .filter((call) => call.isOrdered && call.key === key && !gone.has(call.id))
        .map(({ n }) => n);
      const succeeded = starts.filter((start) => start.key === key && !start.failed && !gone.has(start.id));
      expect(succeeded.map(({ n }) => n)).toEqual(expected);
    }
    const sent = saved.filter(({ isOrdered, id }) => !isOrdered && !gone.has(id));
    for (const { id } of sent) expect(starts.filter((start) => start.id === id && !start.failed)).toHaveLength(1);
    expect(gone.size).toBeGreaterThan(0);
  });
});
