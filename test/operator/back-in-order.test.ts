import { expect, it } from "vitest";
import type { OutboxOptions } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { gate, until } from "../support/waiting.js";

describeEachEngine("a keep-order call that comes back to a key that stands aside", (engine) => {
  const outboxes = useOutboxes(engine);
  const key = { stream: "orders", orderingKey: "a" };

  /** Key `a` has three calls, whose first one has failed: all of them stand aside. */
  async function openBlocked(options: Partial<OutboxOptions>) {
    const ran: number[] = [];
    const state = { isDown: true, wait: undefined as Promise<void> | undefined };
    const work = async (n: number) => {
      if (state.isDown) throw new Error("down");
      ran.push(n);
      await state.wait;
    };
    const wrap = (open: typeof outboxes.open) => {
      const outbox = open({ pollInterval: 30, ...options });
      const publish = outbox.saveToOutbox(work, {
        name: "publish",
        strategy: "keep-order",
        stream: "orders",
        orderingKey: () => "a",
      });
      return { outbox, publish };
    };
    const { outbox, publish } = wrap(outboxes.open);
    await outbox.transaction(async () => {
      for (const n of [1, 2, 3]) await publish(n);
    });
    await outbox.relay();
    expect((await outbox.calls.list()).map((call) => call.state)).toEqual(["blocked", "waiting", "waiting"]);
    return { outbox, rival: wrap(outboxes.openRival).outbox, ran, state };
  }

  it("by a person's retry runs before the later ones that have not run", async () => {
    const { outbox, ran, state } = await openBlocked({ retry: { initialDelay: "1h" } });
    const skipped = await outbox.keys.skipHead(key);
    expect(skipped).toMatchObject({ skipped: true });
    expect(await outbox.calls.retry(skipped!.id)).toEqual({ retried: 1 });
    state.isDown = false;
    await until("all have run", async () => {
      await outbox.relay();
      return (await outbox.calls.list()).length === 0;
    });
    expect(ran).toEqual([1, 2, 3]);
  });

  it.each(["skipHead", "discard"] as const)("by %s of what was running runs first after a crash", async (way) => {
    const { outbox, rival, ran, state } = await openBlocked({ retry: { initialDelay: 0 } });
    const ended = gate();
    Object.assign(state, { isDown: false, wait: ended.promise });
    const relaying = outbox.relay();
    await until("the head runs", () => ran.length === 1);
    if (way === "skipHead") expect(await rival.keys.skipHead(key)).toMatchObject({ skipped: false });
    else {
      const [head] = await rival.calls.list();
      expect(await rival.calls.discard(head!.id)).toEqual({ discarded: 0, running: 1 });
    }
    // As if the process had died in the middle of the run.
    await outboxes.stealLeases();
    await outboxes.expireLeases();
    Object.assign(state, { wait: undefined });
    await until("all have run", async () => {
      await rival.relay();
      return (await rival.calls.list()).length === 0;
    });
    ended.resolve();
    await relaying;
    expect(ran).toEqual([1, 1, 2, 3]);
  });
});
