import { expect, it } from "vitest";
import { OutboxClosedError } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { deferred, gate, until } from "../support/waiting.js";

describeEachEngine("an outbox that ends", (engine) => {
  const outboxes = useOutboxes(engine);

  it("closes once what runs is settled, whoever started it, and begins nothing more", async () => {
    const outbox = outboxes.open({ concurrency: 4 });
    const [relayedEnds, committedEnds, allRun] = [gate(), gate(), deferred()];
    const begun: string[] = [];
    const settled: string[] = [];
    outbox.on("published", ({ call }) => void settled.push(call.function));
    const hold = (name: string) => async () => {
      begun.push(name);
      if (begun.length === 3) allRun.resolve();
      await (name === "now" ? committedEnds : relayedEnds).promise;
    };
    const now = outbox.saveToOutbox(hold("now"), { name: "now" });
    const later = outbox.saveToOutbox(hold("later"), { name: "later", stream: "later" });
    const inOrder = outbox.saveToOutbox(hold("inOrder"), { name: "inOrder", strategy: "keep-order" });
    outbox.startRelayer({ interval: 5 });
    await outbox.transaction(async () => {
      await now();
      await later.with({ delay: 1 })();
      await inOrder();
      await inOrder();
    });
    await allRun.promise;
    let isClosed = false;
    const closing = outbox.close().then(() => (isClosed = true));
    expect(outbox.close()).toBe(outbox.close());
    await outboxes.rows();
    expect(isClosed).toBe(false);
    relayedEnds.resolve();
    await until("what was relayed is settled", () => settled.length === 2);
    await until(
      "the stream is no longer served",
      async () => (await outboxes.table("streams").whereNull("lease_token")).length === 1,
    );
    expect(await outboxes.rows()).toHaveLength(2);
    expect(isClosed).toBe(false);
    committedEnds.resolve();
    await closing;
    expect(begun.sort()).toEqual(["inOrder", "later", "now"]);
    expect(settled.sort()).toEqual(["inOrder", "later", "now"]);
    expect(await outboxes.rows()).toMatchObject([{ functionName: "inOrder", state: "pending", attempts: 0 }]);
  });

  it("closes once a person's change has come to its end, with what it tells", async () => {
    // Without a wake-up it looks for changes after half a lease.
    const holder = outboxes.open({ concurrency: 2, pollInterval: "1h" });
    const [opened, started] = [gate(), deferred()];
    let runs = 0;
    const publish = holder.saveToOutbox(
      async (_key: string) => {
        runs += 1;
        if (runs === 2) started.resolve();
        await opened.promise;
      },
      { name: "publish", strategy: "keep-order", orderingKey: (key) => key },
    );
    const [running, , next, later] = await holder.transaction(async () => [
      await publish("a"),
      await publish("takes the other slot"),
      await publish("b"),
      await publish("b"),
    ]);
    const relayed = holder.relay();
    await started.promise;
    const operator = outboxes.openRival();
    const changes = Promise.all([
      operator.keys.skipHead({ stream: "default", orderingKey: "a" }, { reason: "cancelled" }),
      operator.keys.skipHead({ stream: "default", orderingKey: "b" }, { reason: "cancelled" }),
      operator.calls.discard(later.id),
    ]);
    const areHidden = async () => (await outboxes.rows()).filter(({ state }) => state === "dead").length === 3;
    await until("all are hidden", areHidden);
    let isClosed = false;
    const closing = operator.close().then(() => (isClosed = true));
    await outboxes.rows();
    expect(isClosed).toBe(false);
    // A commit of the same stream wakes it.
    const noted = holder.saveToOutbox(async () => {}, { name: "noted", strategy: "keep-order" });
    await holder.transaction(() => noted());
    expect(await changes).toEqual([
      { id: running.id, skipped: false },
      { id: next.id, skipped: true },
      { discarded: 1, running: 0 },
    ]);
    await closing;
    expect(await outboxes.rows()).toMatchObject([
      { id: running.id, state: "pending", lastError: null },
      { key: "takes the other slot" },
      { id: next.id, state: "dead", lastError: "skipped by a person: cancelled" },
      { functionName: "noted" },
    ]);
    expect((await outboxes.table("calls").where({ id: next.id }))[0]!["settled_at"]).not.toBeNull();
    await expect(operator.calls.list()).rejects.toThrow(OutboxClosedError);
    opened.resolve();
    await relayed;
  });

  it("leaves the caller's knex open, and what is committed later to other processes", async () => {
    const [outbox, rival] = [outboxes.open(), outboxes.openRival()];
    const ran: string[] = [];
    const send = outbox.saveToOutbox(async () => void ran.push("closed"), { name: "send" });
    const inOrder = outbox.saveToOutbox(async () => void ran.push("closed"), {
      name: "inOrder",
      strategy: "keep-order",
    });
    rival.saveToOutbox(async () => void ran.push("open"), { name: "send" });
    rival.saveToOutbox(async () => void ran.push("open"), { name: "inOrder", strategy: "keep-order" });
    outbox.startRelayer({ interval: 5 });
    await outbox.close();
    await outboxes.knex.transaction(async (trx) => {
      await send.in(trx)();
      await inOrder.in(trx)();
    });
    await outbox.idle();
    expect(ran).toEqual([]);
    await until("another process runs them", async () => {
      await rival.relay();
      return ran.length === 2;
    });
    expect(ran).toEqual(["open", "open"]);
  });

  it("refuses all work once it is closed, also while it is closing", async () => {
    const outbox = outboxes.open();
    const [opened, started] = [gate(), deferred()];
    const hold = outbox.saveToOutbox(
      async () => {
        started.resolve();
        await opened.promise;
      },
      { name: "hold" },
    );
    await outbox.transaction(() => hold());
    await started.promise;
    const closing = outbox.close();
    const refused = async () => {
      await expect(outbox.relay()).rejects.toThrow(OutboxClosedError);
      await expect(outbox.clean()).rejects.toThrow(OutboxClosedError);
      await expect(outbox.migrate()).rejects.toThrow(OutboxClosedError);
      expect(() => outbox.startRelayer()).toThrow(OutboxClosedError);
      expect(() => outbox.schedule({ relay: "* * * * *" })).toThrow(OutboxClosedError);
    };
    await refused();
    opened.resolve();
    await closing;
    await refused();
  });

  it("cuts a pass short that is going on, in order", async () => {
    const outbox = outboxes.open({ concurrency: 1 });
    const [opened, started] = [gate(), deferred()];
    const ran: number[] = [];
    const inOrder = outbox.saveToOutbox(
      async (n: number) => {
        started.resolve();
        await opened.promise;
        ran.push(n);
      },
      { name: "inOrder", strategy: "keep-order" },
    );
    await outbox.transaction(async () => {
      for (let n = 1; n <= 5; n++) await inOrder(n);
    });
    const relayed = outbox.relay();
    await started.promise;
    const closing = outbox.close();
    opened.resolve();
    expect(await relayed).toMatchObject({ published: 1 });
    await closing;
    expect(ran).toEqual([1]);
    expect(await outboxes.rows()).toHaveLength(4);
  });

  it("is idle when nothing is queued or in flight, and not before", async () => {
    const outbox = outboxes.open({ concurrency: 1 });
    await outbox.idle();
    const gates = [gate(), gate(), gate()];
    const ran: number[] = [];
    const hold = outbox.saveToOutbox(
      async (n: number) => {
        await gates[n]!.promise;
        ran.push(n);
      },
      { name: "hold" },
    );
    const unstored = outbox.saveToOutbox(hold.original, { name: "unstored", persist: "on-failure" });
    await outbox.transaction(async () => {
      await hold(0);
      await hold(1);
    });
    let isIdle = false;
    const idle = outbox.idle().then(() => (isIdle = true));
    for (const [index, opened] of gates.slice(0, 2).entries()) {
      await until("its turn has come", async () => (await outboxes.rows()).some(({ isLeased }) => isLeased));
      expect(isIdle).toBe(false);
      opened.resolve();
      await until("it ran", () => ran.length === index + 1);
    }
    await idle;
    expect(await outboxes.rows()).toEqual([]);
    await outbox.transaction(() => unstored(2));
    let isIdleAgain = false;
    const idleAgain = outbox.idle().then(() => (isIdleAgain = true));
    await outboxes.rows();
    expect(isIdleAgain).toBe(false);
    gates[2]!.resolve();
    await idleAgain;
    expect(ran).toEqual([0, 1, 2]);
  });
});
