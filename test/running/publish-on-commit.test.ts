import { expect, it } from "vitest";
import { currentCall } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { deferred, gate, until } from "../support/waiting.js";

describeEachEngine("publish-on-commit", (engine) => {
  const outboxes = useOutboxes(engine);

  it("runs a call after its commit, and none after a rollback", async () => {
    const outbox = outboxes.open();
    const ran: unknown[] = [];
    const send = outbox.saveToOutbox(async (n: number, when: Date) => void ran.push([n, when]), { name: "send" });
    await outbox.transaction(async () => {
      await send(1, new Date(5));
      expect(ran).toEqual([]);
    });
    await outbox.idle();
    expect(ran).toEqual([[1, new Date(5)]]);
    const rolledBack = outbox.transaction(async () => {
      await send(2, new Date(6));
      throw new Error("no");
    });
    await expect(rolledBack).rejects.toThrow("no");
    await outboxes.knex.transaction((trx) => send.in(trx)(3, new Date(7)));
    await outbox.idle();
    expect(ran).toEqual([
      [1, new Date(5)],
      [3, new Date(7)],
    ]);
    expect(await outboxes.rows()).toEqual([]);
  });

  it("runs at most `concurrency` calls at once, whoever starts them, and leaves no slot empty", async () => {
    const outbox = outboxes.open({ concurrency: 3 });
    const waiting: (() => void)[] = [];
    const ran: number[] = [];
    let running = 0;
    let most = 0;
    const hold = async (n: number) => {
      most = Math.max(most, (running += 1));
      const open = gate();
      waiting.push(open.resolve);
      await open.promise;
      running -= 1;
      ran.push(n);
    };
    const now = outbox.saveToOutbox(hold, { name: "now" });
    const later = now.with({ delay: 1 });
    const inOrder = outbox.saveToOutbox(hold, { name: "inOrder", strategy: "keep-order", orderingKey: (n) => `${n}` });
    await outbox.transaction(async () => {
      for (let n = 0; n < 4; n++) await later(n);
      for (let n = 4; n < 8; n++) await inOrder(n);
    });
    await until("all of them are due", async () => (await outbox.calls.list({ state: "due" })).length === 8);
    await outbox.transaction(async () => {
      for (let n = 8; n < 12; n++) await now(n);
    });
    const relayed = Promise.all([outbox.relay(), outbox.relay()]);
    for (let left = 12; left > 0; left--) {
      await until("every slot is taken", () => waiting.length === Math.min(left, 3));
      waiting.shift()!();
    }
    await relayed;
    await outbox.idle();
    expect(ran.sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    expect(most).toBe(3);
    expect(await outboxes.rows()).toEqual([]);
  });

  it("leaves what exceeds its bound of a burst in the table, for the relay", async () => {
    const outbox = outboxes.open({ concurrency: 20 });
    const ran = new Set<number>();
    const count = outbox.saveToOutbox(async (n: number) => void ran.add(n), { name: "count" });
    await outbox.transaction(async () => {
      for (let n = 0; n < 1300; n++) await count(n);
    });
    await outbox.idle();
    expect(ran.size).toBe(1000);
    expect(await outboxes.rows()).toHaveLength(300);
    expect(await outbox.relay()).toMatchObject({ published: 300, failed: 0 });
    expect(ran.size).toBe(1300);
  });

  it("delays no call by one that fails or hangs", async () => {
    const outbox = outboxes.open({ concurrency: 2 });
    const hanging = gate();
    const ran: string[] = [];
    const act = outbox.saveToOutbox(
      async (what: string) => {
        if (what === "hangs") await hanging.promise;
        if (what === "fails") throw new Error("down");
        ran.push(what);
      },
      { name: "act" },
    );
    const all = deferred();
    outbox.on("published", ({ call }) => {
      if (call.args[0] === "last") all.resolve();
    });
    await outbox.transaction(async () => {
      for (const what of ["hangs", "fails", "one", "fails", "two", "last"]) await act(what);
    });
    await all.promise;
    expect(ran).toEqual(["one", "two", "last"]);
    hanging.resolve();
    await outbox.idle();
    expect(ran).toEqual(["one", "two", "last", "hangs"]);
    expect((await outboxes.rows()).map(({ state, attempts }) => [state, attempts])).toEqual([
      ["pending", 1],
      ["pending", 1],
    ]);
  });

  it("runs each call once where hints and the relays of two processes go for it", async () => {
    const runs: string[] = [];
    const note = async () => void runs.push(currentCall()!.id);
    const outbox = outboxes.open();
    const rival = outboxes.openRival();
    const call = outbox.saveToOutbox(note, { name: "note" });
    rival.saveToOutbox(note, { name: "note" });
    const ids: string[] = [];
    for (let round = 0; round < 10; round++) {
      await outbox.transaction(async () => {
        for (let n = 0; n < 20; n++) ids.push((await call()).id);
      });
      await Promise.all([outbox.relay(), rival.relay(), outbox.relay()]);
    }
    await Promise.all([outbox.idle(), rival.idle()]);
    expect([...runs].sort()).toEqual([...ids].sort());
    expect(await outboxes.rows()).toEqual([]);
  });
});
