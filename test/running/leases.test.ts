import { expect, it } from "vitest";
import { currentCall, type CurrentCall, LeaseLostError, type OutboxEvents } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { deferred, gate, until } from "../support/waiting.js";

const LEASE_MS = 1000;

describeEachEngine("the lease of a publish-on-commit call", (engine) => {
  const outboxes = useOutboxes(engine);

  it("is renewed while its run goes on, so that no other process takes the call", async () => {
    const [outbox, rival] = [outboxes.open({ lease: LEASE_MS }), outboxes.openRival({ lease: LEASE_MS })];
    const [started, finish] = [deferred(), gate()];
    const lost: unknown[] = [];
    let rivalRuns = 0;
    for (const one of [outbox, rival]) one.on("leaseLost", (event) => void lost.push(event));
    const slow = outbox.saveToOutbox(
      async () => {
        started.resolve();
        await finish.promise;
      },
      { name: "slow" },
    );
    rival.saveToOutbox(async () => void (rivalRuns += 1), { name: "slow" });
    await outbox.transaction(() => slow());
    await started.promise;
    const leaseEnd = async () => (await outbox.calls.list())[0]!.dueAt.getTime();
    const firstEnd = await leaseEnd();
    await until("the lease has been held three times as long as it is", async () => {
      expect(await rival.relay()).toMatchObject({ published: 0, failed: 0 });
      return (await leaseEnd()) > firstEnd + 2 * LEASE_MS;
    });
    expect(await outboxes.rows()).toMatchObject([{ state: "pending", attempts: 0, fence: 1, isLeased: true }]);
    finish.resolve();
    await outbox.idle();
    expect(await outboxes.rows()).toEqual([]);
    expect([rivalRuns, lost]).toEqual([0, []]);
  });

  it("ends with its process: another takes the call up, with a higher fence and no attempt counted", async () => {
    const calls: CurrentCall[] = [];
    const outbox = outboxes.open();
    const note = outbox.saveToOutbox(async () => void calls.push(currentCall()!), { name: "note" });
    const { id } = await outboxes.knex.transaction((trx) => note.with({ trx, delay: "1h" })());
    // What a process leaves behind that claimed the call and died.
    await outboxes.table("calls").update({ lease_id: "0190a2b4-0000-7000-8000-000000000000", fence: 3 });
    expect(await outboxes.relayBesideAnother(outbox)).toMatchObject({ published: 1 });
    const relayer = outbox.startRelayer({ interval: 5 });
    const anotherRan = deferred();
    const another = outbox.saveToOutbox(async () => anotherRan.resolve(), { name: "another" });
    await outboxes.knex.transaction((trx) => another.with({ trx, delay: 1 })());
    await anotherRan.promise;
    await relayer.stop();
    expect(calls).toEqual([]);
    expect(await outbox.calls.list({ state: "running" })).toMatchObject([{ id, attempts: 0 }]);
    await outboxes.expireLeases();
    expect(await outbox.relay()).toMatchObject({ published: 1 });
    expect(calls).toMatchObject([{ id, attempt: 1, fence: 4 }]);
    expect(await outboxes.rows()).toEqual([]);
  });

  it.each(["succeeds", "fails"])(
    "that is lost aborts the run, which settles nothing when it %s after all",
    async (how) => {
      const outbox = outboxes.open({ lease: LEASE_MS });
      const lost: OutboxEvents["leaseLost"][] = [];
      const settled: string[] = [];
      outbox.on("leaseLost", (event) => void lost.push(event));
      for (const name of ["published", "failed", "dead"] as const) outbox.on(name, () => void settled.push(name));
      const [started, reason, finish] = [deferred(), deferred<unknown>(), gate()];
      const slow = outbox.saveToOutbox(
        async (_order: string) => {
          const { signal } = currentCall()!;
          signal.addEventListener("abort", () => reason.resolve(signal.reason));
          started.resolve();
          await finish.promise;
          if (how === "fails") throw new Error("down");
        },
        { name: "slow" },
      );
      const { id } = await outbox.transaction(() => slow("o1"));
      await started.promise;
      await outboxes.stealLeases();
      expect(await reason.promise).toBeInstanceOf(LeaseLostError);
      expect(lost).toMatchObject([{ stream: "default", call: { id, function: "slow" } }]);
      finish.resolve();
      await outbox.idle();
      expect(lost).toHaveLength(1);
      expect(settled).toEqual([]);
      expect(await outboxes.rows()).toMatchObject([{ state: "pending", attempts: 0, fence: 2, lastError: null }]);
    },
  );

  it("that is found lost only when the run is settled is reported then, once", async () => {
    const outbox = outboxes.open({ lease: "1h" });
    const lost: OutboxEvents["leaseLost"][] = [];
    const settled: unknown[] = [];
    outbox.on("leaseLost", (event) => void lost.push(event));
    outbox.on("published", (event) => void settled.push(event));
    const slow = outbox.saveToOutbox(() => outboxes.stealLeases(), { name: "slow" });
    const { id } = await outbox.transaction(() => slow());
    await outbox.idle();
    expect(lost).toMatchObject([{ stream: "default", call: { id } }]);
    expect(settled).toEqual([]);
    expect(await outboxes.rows()).toMatchObject([{ state: "pending", attempts: 0, fence: 2 }]);
  });
});
