import { expect, it } from "vitest";
import type { Outbox } from "../../src/index.js";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { until } from "../support/waiting.js";

const CALLS = 400;

describeEachServer("two relays of publish-on-commit at once", (engine) => {
  const outboxes = useOutboxes(engine);

  it("share out what is due, run each call once, and leave none unclaimed when they end", async () => {
    const ran: number[] = [];
    const open = (outbox: Outbox) => {
      const send = outbox.saveToOutbox(
        async (n: number) => {
          for (let ticks = 0; ticks < 3; ticks++) await new Promise(setImmediate);
          ran.push(n);
        },
        { name: "send" },
      );
      return { outbox, send };
    };
    const both = [open(outboxes.open()), open(outboxes.openRival())] as const;
    const [{ outbox, send }] = both;
    const numbers = Array.from({ length: CALLS }, (_, n) => n);
    await outbox.transaction(async () => {
      for (const n of numbers) await send.with({ delay: 1 })(n);
    });
    await until("all are due", async () => (await outbox.calls.list({ state: "due", limit: 1000 })).length === CALLS);
    const ends = both.map(async (one) => {
      const { published } = await one.outbox.relay();
      const unclaimed = (await outboxes.rows()).filter(({ isLeased }) => !isLeased).length;
      return { published, unclaimed };
    });
    const results = await Promise.all(ends);
    const published = results.map((result) => result.published);
    expect(results).toMatchObject([{ unclaimed: 0 }, { unclaimed: 0 }]);
    expect(published.reduce((sum, count) => sum + count, 0)).toBe(CALLS);
    expect(Math.min(...published)).toBeGreaterThan(0);
    expect(ran.toSorted((one, other) => one - other)).toEqual(numbers);
    expect(await outboxes.rows()).toEqual([]);
  });
});
