import { expect, it } from "vitest";
import type { OutboxOptions } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { deferred, gate, until } from "../support/waiting.js";

describeEachEngine("a relayer that has read calls ahead", (engine) => {
  const outboxes = useOutboxes(engine);

  /** Key `a` has calls 1 to `calls`, whose first one waits for the test while it runs. */
  async function openBusy(calls = 20, options: Partial<OutboxOptions> = {}) {
    const outbox = outboxes.open({ pollInterval: 50, ...options });
    const started: string[] = [];
    const first = gate();
    const publish = outbox.saveToOutbox(
      async (key: string, n: number) => {
        started.push(`${key}${n}`);
        if (key === "a" && n === 1) await first.promise;
      },
      { name: "publish", strategy: "keep-order", stream: "orders", orderingKey: (key) => key },
    );
    const ids: string[] = [];
    await outbox.transaction(async () => {
      for (let n = 1; n <= calls; n++) ids.push((await publish("a", n)).id);
    });
    const relayer = outbox.startRelayer();
    await until("the first call runs", () => started.length === 1);
    return { outbox, operator: outboxes.openRival(), publish, started, ids, first, relayer };
  }

  const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => `a${from + i}`);

  it("does not run what was discarded, and tells what was running", async () => {
    const { operator, started, ids, first } = await openBusy();
    const discarded = await operator.calls.discard(ids.slice(0, 10));
    expect(discarded).toEqual({ discarded: 9, running: 1 });
    first.resolve();
    await until("the rest ran", async () => (await outboxes.rows()).length === 0);
    expect(started).toEqual(["a1", ...numbers(11, 20)]);
  });

  it("begins nothing of a paused stream, and goes on where it was", async () => {
    const { operator, started, first } = await openBusy();
    expect(await operator.streams.pause("orders", { reason: "the broker moves" })).toEqual({ running: 1 });
    first.resolve();
    await until("the running one is settled", async () => (await outboxes.rows()).length === 19);
    const [status] = await operator.streams.list();
    expect(status).toMatchObject({ stream: "orders", pausedReason: "the broker moves", pending: 19 });
    expect(await operator.relay()).toMatchObject({ published: 0, unroutable: 0 });
    expect(started).toEqual(["a1"]);
    expect(await operator.streams.resume("orders")).toEqual({ resumed: true });
    await until("the rest ran", async () => (await outboxes.rows()).length === 0);
    expect(started).toEqual(numbers(1, 20));
  });

  it("sets a parked key aside with later calls too, and brings it back in order", async () => {
    const { outbox, operator, publish, started, first } = await openBusy();
    await operator.keys.park({ stream: "orders", orderingKey: "a" });
    first.resolve();
    await outbox.transaction(async () => {
      await publish("a", 21);
      await publish("b", 1);
    });
    await until("the other key's call ran", () => started.includes("b1"));
    await until("all of the key stand aside", async () => (await outbox.calls.list({ state: "parked" })).length === 20);
    expect(started).toEqual(["a1", "b1"]);
    expect(await operator.keys.resume({ stream: "orders", orderingKey: "a" })).toEqual({ resumed: true });
    await until("the rest ran", async () => (await outboxes.rows()).length === 0);
    expect(started).toEqual(["a1", "b1", ...numbers(2, 21)]);
  });

  it("does not skip a head that runs, and skips one that fails", async () => {
    const outbox = outboxes.open({ pollInterval: 50, retry: { initialDelay: "1h", jitter: 0 } });
    const ran: string[] = [];
    const down = deferred<boolean>();
    const publish = outbox.saveToOutbox(
      async (n: number) => {
        ran.push(`a${n}`);
        if (n === 1 && (await down.promise)) throw new Error("down");
      },
      { name: "publish", strategy: "keep-order", stream: "orders" },
    );
    await outbox.transaction(async () => {
      for (let n = 1; n <= 3; n++) await publish(n);
    });
    outbox.startRelayer();
    await until("the head runs", () => ran.length === 1);
    const operator = outboxes.openRival();
    expect(await operator.keys.skipHead({ stream: "orders" })).toMatchObject({ skipped: false });
    down.resolve(true);
    await until("it is blocked", async () => (await outbox.calls.list({ state: "blocked" })).length === 1);
    expect((await operator.streams.list())[0]).toMatchObject({ blockedKeys: 1, blockedHead: { attempts: 1 } });
    const skipped = await operator.keys.skipHead({ stream: "orders" }, { reason: "the order was cancelled" });
    expect(skipped).toMatchObject({ skipped: true });
    await until("the others ran", () => ran.length === 3);
    const dead = await operator.calls.get(skipped!.id);
    expect(dead).toMatchObject({ state: "dead", attempts: 1 });
    expect(dead!.lastError).toMatch(/^skipped by a person: the order was cancelled\nError: down/);
    expect(await operator.calls.retry(skipped!.id)).toEqual({ retried: 1 });
    await until("it runs again", () => ran.length === 4);
  });
});
