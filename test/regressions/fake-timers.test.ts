import { afterEach, expect, it, vi } from "vitest";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";

describeEachEngine("a test of the user's that fakes timers", (engine) => {
  const outboxes = useOutboxes(engine);
  afterEach(() => {
    // Whoever waits for one of these would wait for ever.
    if (vi.isFakeTimers()) vi.runOnlyPendingTimers();
    vi.useRealTimers();
  });

  it("waits for its calls by idle(), however close their commits are", async () => {
    const outbox = outboxes.open({ concurrency: 10 });
    const ran: number[] = [];
    const note = outbox.saveToOutbox(async (n: number) => void ran.push(n), { name: "note" });
    await outbox.transaction(() => note(0));
    await outbox.idle();
    vi.useFakeTimers();
    await Promise.all([1, 2, 3, 4, 5, 6].map((n) => outbox.transaction(() => note(n))));
    await outbox.idle();
    expect(ran.toSorted()).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });
});
