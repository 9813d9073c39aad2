import { expect, it } from "vitest";
import type { Outbox, OutboxOptions } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { gate, until } from "../support/waiting.js";

describeEachEngine("who serves a stream, while a slow run goes on", (engine) => {
  const outboxes = useOutboxes(engine);
  const orders = (orderingKey: string) => ({ stream: "orders", orderingKey });

  /** Key `a` has five calls; the run of its first one waits for the test, at its second attempt where the key stands aside. */
  async function openSlow<T>(relay: (outbox: Outbox) => T, options: Partial<OutboxOptions> = {}, standsAside = false) {
    const outbox = outboxes.open({ pollInterval: 50, retry: { initialDelay: 1, jitter: 0 }, ...options });
    const started: string[] = [];
    const first = gate();
    let fails = standsAside;
    const publish = outbox.saveToOutbox(
      async (key: string, n: number) => {
        if (fails) {
          fails = false;
          throw new Error("down");
        }
        started.push(`${key}${n}`);
        if (key === "a" && n === 1) await first.promise;
      },
      { name: "publish", strategy: "keep-order", stream: "orders", orderingKey: (key) => key },
    );
    const ids = await outbox.transaction(async () => {
      const saved = [];
      for (let n = 1; n <= 5; n++) saved.push(await publish("a", n));
      return saved.map(({ id }) => id) as [string, string, ...string[]];
    });
    const relaying = relay(outbox);
    await until("it runs", () => started.length === 1);
    // A change that is not confirmed fails after three of its leases.
    return { outbox, operator: outboxes.openRival({ lease: 2000 }), publish, ids, started, first, relaying };
  }

  const waysOut: [string, (outbox: Outbox) => () => Promise<unknown>][] = [
    [
      "a relayer that is stopped",
      (outbox) => {
        const relayer = outbox.startRelayer();
        return () => relayer.stop();
      },
    ],
    [
      "a pass that has reached its limit",
      (outbox) => {
        const pass = outbox.relay({ limit: 1 });
        return () => pass;
      },
    ],
  ];

  it.each(waysOut)("answers to a person's changes also on its way out: %s", async (_, relay) => {
    const { outbox, operator, ids, started, first, relaying: leave } = await openSlow(relay);
    let hasLeft = false;
    const leaving = leave().then(() => (hasLeft = true));
    expect(await operator.calls.discard(ids.slice(0, 2))).toEqual({ discarded: 1, running: 1 });
    expect(await operator.keys.park(orders("b"))).toEqual({ running: false });
    expect(await operator.keys.park(orders("a"))).toEqual({ running: true });
    expect(await operator.streams.pause("orders")).toEqual({ running: 1 });
    expect(hasLeft).toBe(false);
    first.resolve();
    await leaving;
    expect(started).toEqual(["a1"]);
    await operator.streams.resume("orders");
    await operator.keys.resume(orders("a"));
    expect(await outbox.relay()).toMatchObject({ published: 3 });
    expect(started).toEqual(["a1", "a3", "a4", "a5"]);
  });

  it.each([
    ["in line", false],
    ["aside", true],
  ])("goes on with it where the stream is paused and resumed meanwhile, of a key %s", async (_, standsAside) => {
    const startRelayer = (outbox: Outbox) => outbox.startRelayer();
    const { outbox, operator, publish, started, first } = await openSlow(startRelayer, {}, standsAside);
    for (const times of [1, 2]) {
      expect(await operator.streams.pause("orders")).toEqual({ running: 1 });
      await outbox.transaction(() => publish("b", times));
      expect(started.filter((call) => call.startsWith("b"))).toHaveLength(times - 1);
      expect(await operator.streams.resume("orders")).toEqual({ resumed: true });
      await until("the other key's call ran", () => started.includes(`b${times}`));
    }
    expect(started).toEqual(["a1", "b1", "b2"]);
    first.resolve();
    await until("all have run", async () => (await outboxes.rows()).length === 0);
    expect(started).toEqual(["a1", "b1", "b2", "a2", "a3", "a4", "a5"]);
  });

  it("answers in time where it polls more seldom than every few leases", async () => {
    const startRelayer = (outbox: Outbox) => outbox.startRelayer();
    const { operator, ids, started, first } = await openSlow(startRelayer, { pollInterval: "1h", lease: 2000 });
    expect(await operator.calls.discard(ids.slice(0, 2))).toEqual({ discarded: 1, running: 1 });
    expect(await operator.keys.skipHead(orders("a"), { id: ids[0] })).toEqual({ id: ids[0], skipped: false });
    first.resolve();
    await until("all have run", async () => (await outboxes.rows()).length === 0);
    expect(started).toEqual(["a1", "a3", "a4", "a5"]);
  });
});
