import { expect, it } from "vitest";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { gate, until } from "../support/waiting.js";

const POLL_MS = 300;

describeEachEngine("a keep-order key whose head takes long", (engine) => {
  const outboxes = useOutboxes(engine);

  /** A relayer at work on a1, which does not end before the test lets it. */
  async function openBusy(behind: number, options: Parameters<typeof outboxes.open>[0] = {}) {
    const outbox = outboxes.open({ pollInterval: POLL_MS, ...options });
    const slow = gate();
    const started: string[] = [];
    const ran: string[] = [];
    const publish = outbox.saveToOutbox(
      async (key: string, n: number) => {
        started.push(`${key}${n}`);
        if (key === "a" && n === 1) await slow.promise;
        ran.push(`${key}${n}`);
      },
      { name: "publish", strategy: "keep-order", stream: "orders", orderingKey: (key) => key },
    );
    await outbox.transaction(async () => {
      for (let n = 1; n <= behind; n++) await publish("a", n);
    });
    const relayer = outbox.startRelayer();
    await until("it is at work", () => started.length === 1);
    const finish = async () => {
      slow.resolve();
      await until("all have run", async () => (await outbox.calls.list({ limit: 1 })).length === 0, 25_000);
      await relayer.stop();
      const ofA = ran.filter((call) => call.startsWith("a"));
      expect(ofA).toEqual(Array.from({ length: ofA.length }, (_, index) => `a${index + 1}`));
      expect(await outboxes.table("keys")).toEqual([]);
    };
    return { outbox, publish, ran, started, relayer, finish };
  }

  it("keeps new calls of other keys waiting for no longer than a wake-up takes", async () => {
    const { outbox, publish, ran, finish } = await openBusy(3, { pollInterval: "1h" });
    await outbox.transaction(() => publish("b", 1));
    await until("the other key's call ran", () => ran.includes("b1"));
    await outbox.transaction(() => publish("b", 2));
    await until("and the next one", () => ran.includes("b2"));
    expect(ran).toEqual(["b1", "b2"]);
    await finish();
    expect(ran).toEqual(["b1", "b2", "a1", "a2", "a3"]);
  });

  it("keeps those of another process waiting for no longer than a poll", async () => {
    const { ran, finish } = await openBusy(3);
    const rival = outboxes.openRival();
    const publish = rival.saveToOutbox(async (_key: string, _n: number) => undefined, {
      name: "publish",
      strategy: "keep-order",
      stream: "orders",
      orderingKey: (key) => key,
    });
    await rival.transaction(() => publish("b", 1));
    await until("the other key's call ran", () => ran.includes("b1"));
    expect(ran).toEqual(["b1"]);
    await finish();
  });

  it("keeps nobody waiting either with more calls behind it than a pass reads at once", async () => {
    const { outbox, publish, ran, finish } = await openBusy(6000, { pollInterval: 1000 });
    await outbox.transaction(() => publish("b", 1));
    // Twelve full lines stand before it: a poll's time for each would be 12 s.
    await until("the other key's call ran", () => ran.includes("b1"), 9000);
    expect(ran).toEqual(["b1"]);
    await finish();
    expect(ran).toHaveLength(6001);
  });

  it("keeps nobody waiting either while commits keep waking the relayer", async () => {
    const { outbox, publish, ran, finish } = await openBusy(2000);
    let saved = 2000;
    let last = 0;
    await until("the other key's call ran", async () => {
      await outbox.transaction(async () => {
        await publish("a", ++saved);
        await publish("b", ++last);
      });
      return ran.includes("b1");
    });
    await finish();
    expect(ran).toHaveLength(saved + last);
    const ofB = ran.filter((call) => call.startsWith("b"));
    expect(ofB).toEqual(Array.from({ length: last }, (_, index) => `b${index + 1}`));
  });

  it("steps aside together with others, and each goes on in its order", async () => {
    const { outbox, publish, ran, finish } = await openBusy(50);
    const keys = Array.from({ length: 5 }, (_, index) => `k${index}`);
    await outbox.transaction(async () => {
      for (let n = 1; n <= 200; n++) for (const key of keys) await publish(`${key}-`, n);
    });
    await until("all but the slow key's calls ran", () => ran.length === 1000);
    await finish();
    for (const key of keys) {
      const ofKey = ran.filter((call) => call.startsWith(`${key}-`));
      expect(ofKey).toEqual(Array.from({ length: 200 }, (_, index) => `${key}-${index + 1}`));
    }
  });
});
