import { AsyncLocalStorage } from "node:async_hooks";
import { expect, it } from "vitest";
import { currentCall, type CurrentCall } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { deferred, gate } from "../support/waiting.js";

it("is undefined outside a run", () => {
  expect(currentCall()).toBeUndefined();
});

describeEachEngine("the current call", (engine) => {
  const outboxes = useOutboxes(engine);

  it.each(["publish-on-commit", "keep-order"] as const)("tells a %s run who it is", async (strategy) => {
    const outbox = outboxes.open({ retry: { initialDelay: 0 } });
    const calls: CurrentCall[] = [];
    const note = outbox.saveToOutbox(
      async () => {
        await Promise.resolve();
        calls.push(currentCall()!);
        if (calls.length === 1) throw new Error("down");
      },
      { name: "note", stream: "notes", strategy },
    );
    const before = Date.now();
    const { id } = await outbox.transaction(() => note.with({ headers: { traceparent: "00-1" } })());
    await outbox.idle();
    while (calls.length < 2) await outbox.relay();
    const same = { id, stream: "notes", headers: { traceparent: "00-1" } };
    expect(calls).toMatchObject([
      { ...same, attempt: 1 },
      { ...same, attempt: 2 },
    ]);
    expect(calls[1]!.fence).toBeGreaterThan(calls[0]!.fence);
    for (const call of calls) {
      expect(call.signal).toBeInstanceOf(AbortSignal);
      expect(call.signal.aborted).toBe(false);
      expect(Math.abs(call.createdAt.getTime() - before)).toBeLessThan(10_000);
    }
    expect(calls[1]!.createdAt).toEqual(calls[0]!.createdAt);
    expect(currentCall()).toBeUndefined();
  });

  it("is each run's own, beside others", async () => {
    const outbox = outboxes.open();
    const bothRun = [deferred(), deferred()];
    const seen = new Map<number, string>();
    const note = outbox.saveToOutbox(
      async (n: number) => {
        bothRun[n]!.resolve();
        await Promise.all(bothRun.map(({ promise }) => promise));
        seen.set(n, currentCall()!.id);
      },
      { name: "note" },
    );
    const saved = await outbox.transaction(() => Promise.all([note(0), note(1)]));
    await outbox.idle();
    expect([seen.get(0), seen.get(1)]).toEqual(saved.map(({ id }) => id));
  });

  it("runs in the empty context of createOutbox, not in that of the request that committed or relays", async () => {
    const request = new AsyncLocalStorage<string>();
    const outbox = outboxes.open({ requireTransaction: false });
    const seen = new Map<number, unknown[]>();
    const inside = async (n: number) => {
      const atFirst = request.getStore();
      await Promise.resolve();
      seen.set(n, [atFirst, request.getStore()]);
    };
    const direct = outbox.saveToOutbox(inside, { name: "direct" });
    const unstored = outbox.saveToOutbox(inside, { name: "unstored", persist: "on-failure" });
    const inOrder = outbox.saveToOutbox(inside, { name: "inOrder", strategy: "keep-order" });
    const listened: unknown[] = [];
    outbox.on("published", () => void listened.push(request.getStore()));

    await request.run("Alice", () => outbox.transaction(() => direct(1)));
    await outbox.idle();
    await request.run("Bob", () => outboxes.knex.transaction((trx) => direct.in(trx)(2)));
    await outbox.idle();
    await request.run("Carol", () => direct(3));
    await outbox.idle();
    await request.run("Dan", () => outbox.transaction(() => unstored(4)));
    await outbox.idle();
    await outbox.transaction(async () => {
      await inOrder(5);
      await direct.with({ delay: 1 })(6);
    });
    while (seen.size < 6) await request.run("Eve", () => outbox.relay());
    for (const n of [1, 2, 3, 4, 5, 6]) expect(seen.get(n)).toEqual([undefined, undefined]);
    expect(listened).toEqual(Array.from({ length: 6 }, () => undefined));
  });

  it("has no ambient transaction left in which a function's own calls could be lost", async () => {
    const outbox = outboxes.open();
    const ended = gate();
    const errors: unknown[] = [];
    const second = outbox.saveToOutbox(async () => undefined, { name: "second" });
    const first = outbox.saveToOutbox(
      async () => {
        await second().catch((error: unknown) => errors.push(error));
        ended.resolve();
      },
      { name: "first" },
    );
    await outbox.transaction(async () => {
      await first();
    });
    await ended.promise;
    await outbox.idle();
    expect(errors).toMatchObject([{ code: "CARTEIRO_TRANSACTION_REQUIRED" }]);
  });
});
