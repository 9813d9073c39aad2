import { expect, it } from "vitest";
import { currentCall, type OutboxEvents, RunTimeoutError } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { deferred, gate, until } from "../support/waiting.js";

describeEachEngine("a run that takes too long", (engine) => {
  const outboxes = useOutboxes(engine);

  it.each(["publish-on-commit", "keep-order"] as const)(
    "is told so by its signal, and its late success counts [%s]",
    async (strategy) => {
      const outbox = outboxes.open({ timeout: 20 });
      const published: OutboxEvents["published"][] = [];
      const others: unknown[] = [];
      outbox.on("published", (event) => void published.push(event));
      for (const name of ["failed", "abandoned", "leaseLost"] as const)
        outbox.on(name, (event) => void others.push(event));
      const reasons: unknown[] = [];
      const slow = outbox.saveToOutbox(
        async () => {
          const { signal } = currentCall()!;
          await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
          reasons.push(signal.reason);
        },
        { name: "slow", strategy },
      );
      await outbox.transaction(() => slow());
      await outbox.idle();
      await outbox.relay();
      expect(reasons).toEqual([expect.any(RunTimeoutError)]);
      expect(published).toMatchObject([{ attempt: 1 }]);
      expect(others).toEqual([]);
      expect(await outboxes.rows()).toEqual([]);
    },
  );

  it("is abandoned where it never returns: a failure, told once, and its slot is free again", async () => {
    const outbox = outboxes.open({ timeout: 10, abandonAfter: 50, concurrency: 1, retry: { initialDelay: "1h" } });
    const seen: [string, unknown][] = [];
    for (const name of ["abandoned", "failed", "published"] as const) {
      outbox.on(name, (event) => void seen.push([name, event]));
    }
    const end = gate();
    const hanging = outbox.saveToOutbox(() => end.promise, { name: "hanging" });
    const quick = outbox.saveToOutbox(async () => undefined, { name: "quick" });
    const { id } = await outbox.transaction(async () => {
      const saved = await hanging();
      await quick();
      return saved;
    });
    await outbox.idle();
    expect(seen).toMatchObject([
      ["abandoned", { call: { id }, attempt: 1 }],
      ["failed", { call: { id }, attempt: 1, error: expect.any(RunTimeoutError) as Error }],
      ["published", { call: { function: "quick" } }],
    ]);
    expect((seen[0]![1] as OutboxEvents["abandoned"]).durationMs).toBeGreaterThanOrEqual(49);
    expect(await outboxes.rows()).toMatchObject([{ id, state: "pending", attempts: 1, isLeased: false }]);
    end.resolve();
    await outbox.idle();
    expect(seen).toHaveLength(3);
  });

  it("blocks its key once it is abandoned, and holds no other back meanwhile", async () => {
    const outbox = outboxes.open({ timeout: 10, abandonAfter: 200, retry: { initialDelay: "1h" } });
    const blocked: OutboxEvents["blocked"][] = [];
    const abandoned: OutboxEvents["abandoned"][] = [];
    outbox.on("blocked", (event) => void blocked.push(event));
    outbox.on("abandoned", (event) => void abandoned.push(event));
    const [end, otherRan] = [gate(), deferred()];
    const publish = outbox.saveToOutbox(
      async (key: string) => {
        if (key === "a") await end.promise;
        else otherRan.resolve();
      },
      { name: "publish", strategy: "keep-order", orderingKey: (key) => key },
    );
    await outbox.transaction(async () => {
      for (const key of ["a", "a", "b"]) await publish(key);
    });
    const relayed = outbox.relay();
    await otherRan.promise;
    expect(blocked).toEqual([]);
    expect(await relayed).toMatchObject({ published: 1, failed: 1, blockedCount: 1 });
    expect(blocked).toMatchObject([{ call: { orderingKey: "a" }, error: expect.any(RunTimeoutError) as Error }]);
    expect(abandoned).toMatchObject([{ call: { orderingKey: "a" } }]);
    expect((await outboxes.rows()).map(({ key, attempts }) => [key, attempts])).toEqual([
      ["a", 1],
      ["a", 0],
    ]);
  });

  it("is waited for by close no longer than abandonAfter", async () => {
    const outbox = outboxes.open({ timeout: 10, abandonAfter: 50 });
    const started = deferred();
    const hanging = outbox.saveToOutbox(
      () => {
        started.resolve();
        return new Promise(() => {});
      },
      { name: "hanging" },
    );
    await outbox.transaction(() => hanging());
    await started.promise;
    await outbox.close();
    await until("the call is given back", async () => (await outboxes.rows())[0]!.attempts === 1);
  });
});
