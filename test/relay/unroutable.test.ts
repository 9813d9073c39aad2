import { setTimeout as pause } from "node:timers/promises";
import { expect, it } from "vitest";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { gate, until } from "../support/waiting.js";

describeEachEngine("a call whose function is not known here", (engine) => {
  const outboxes = useOutboxes(engine);

  /** A process of the old release, which knows `publish`, and one of the new, which knows `announce` as well. */
  function openOldAndNew(options: Parameters<typeof outboxes.open>[0] = {}) {
    const [old, newer] = [outboxes.open(options), outboxes.openRival(options)];
    const ran: string[] = [];
    const wrap = (outbox: typeof old, name: string) =>
      outbox.saveToOutbox(async (key: string, n: number) => void ran.push(`${name} ${key}${n}`), {
        name,
        strategy: "keep-order",
        stream: "orders",
        orderingKey: (key) => key,
      });
    wrap(old, "publish");
    const unroutable: string[] = [];
    old.on("unroutable", (event) => void unroutable.push(event.function));
    return { old, newer, publish: wrap(newer, "publish"), announce: wrap(newer, "announce"), ran, unroutable };
  }

  const dueNow = async () => {
    const due_at = outboxes.knex.raw(outboxes.dialect.now);
    await outboxes.table("keys").update({ due_at });
    await outboxes.table("calls").update({ due_at });
  };

  it("is neither run nor counted nor dropped, holds its key alone, and runs in a process that knows it", async () => {
    const { old, newer, publish, announce, ran } = openOldAndNew();
    await newer.transaction(async () => {
      await publish("a", 1);
      await announce("a", 2);
      await publish("a", 3);
      await publish("b", 1);
    });
    expect(await old.relay()).toMatchObject({ published: 2, failed: 0, unroutable: 1, blocked: [], blockedCount: 0 });
    expect(ran.sort()).toEqual(["publish a1", "publish b1"]);
    expect((await outboxes.rows()).map(({ attempts, lastError }) => [attempts, lastError])).toEqual([
      [0, null],
      [0, null],
    ]);
    await newer.transaction(() => publish("a", 4));
    await dueNow();
    expect(await old.relay()).toMatchObject({ published: 0, unroutable: 1 });
    await dueNow();
    expect(await newer.relay()).toMatchObject({ published: 3, unroutable: 0 });
    expect(ran.slice(2)).toEqual(["announce a2", "publish a3", "publish a4"]);
    expect(await outboxes.rows()).toEqual([]);
  });

  it("costs a pass none of the other keys' calls, however many they are", async () => {
    const { old, newer, publish, announce, ran } = openOldAndNew();
    await newer.transaction(async () => {
      await announce("a", 1);
      for (let n = 2; n <= 1200; n++) await publish("a", n);
      for (let n = 1; n <= 700; n++) await publish(`b${n % 7}`, n);
    });
    expect(await old.relay()).toMatchObject({ published: 700, unroutable: 1 });
    expect(ran.filter((call) => call.startsWith("publish b"))).toHaveLength(700);
    expect(ran).toHaveLength(700);
  });

  it("is left by a relayer to another that knows it, which steps in while the first one steps back", async () => {
    const { old, newer, publish, announce, ran, unroutable } = openOldAndNew({ pollInterval: 20 });
    const relayers = [old.startRelayer()];
    await newer.transaction(() => announce("a", 1));
    await until("the old process has met it", () => unroutable.length > 0);
    relayers.push(newer.startRelayer());
    await newer.transaction(() => publish("a", 2));
    await until("both calls ran", () => ran.length === 2);
    await Promise.all(relayers.map((relayer) => relayer.stop()));
    expect(ran).toEqual(["announce a1", "publish a2"]);
    expect(await outboxes.rows()).toEqual([]);
  });

  it("keeps a relayer that alone serves the stream from no other key", async () => {
    const { old, newer, publish, announce, ran, unroutable } = openOldAndNew({ pollInterval: 20 });
    await newer.transaction(() => announce("a", 1));
    const relayer = old.startRelayer();
    await until("it has been met", () => unroutable.length > 0);
    await newer.transaction(async () => {
      for (let n = 1; n <= 20; n++) await publish("b", n);
    });
    await until("the others ran", () => ran.length === 20);
    await relayer.stop();
    expect(await outboxes.rows()).toMatchObject([{ key: "a", state: "held", attempts: 0 }]);
  });

  it("is left to another by a relayer that always has something to run", async () => {
    const [old, newer] = [outboxes.open({ pollInterval: 500 }), outboxes.openRival({ pollInterval: 20 })];
    const options = { strategy: "keep-order", stream: "orders", orderingKey: (key: string) => key } as const;
    let announced = 0;
    let published = 0;
    const work = async (_key: string) => {
      published += 1;
      await pause(10);
    };
    old.saveToOutbox(work, { ...options, name: "publish" });
    const publish = newer.saveToOutbox(work, { ...options, name: "publish" });
    const announce = newer.saveToOutbox(async (_key: string) => void (announced += 1), {
      ...options,
      name: "announce",
    });
    let saved = 0;
    const saveMore = () =>
      newer.transaction(async () => {
        for (let n = 0; n < 8; n++) await publish(`key ${++saved % 30}`);
      });
    const relayers = [old.startRelayer()];
    const saving = until("another has run it", async () => {
      if (saved < published + 60) await saveMore();
      return announced === 1;
    });
    await until("the first is at work", () => published > 20);
    await newer.transaction(() => announce("a"));
    relayers.push(newer.startRelayer());
    await saving;
    await Promise.all(relayers.map((relayer) => relayer.stop()));
  });

  it("keeps no other key waiting for a slow run that keeps the relayer from leaving", async () => {
    const [old, newer] = [outboxes.open({ pollInterval: 20 }), outboxes.openRival()];
    const slow = gate();
    const ran: string[] = [];
    const options = { strategy: "keep-order", stream: "orders", orderingKey: (key: string) => key } as const;
    const run = async (key: string) => {
      if (key === "slow") await slow.promise;
      ran.push(key);
    };
    old.saveToOutbox(run, { ...options, name: "publish" });
    const publish = newer.saveToOutbox(run, { ...options, name: "publish" });
    const announce = newer.saveToOutbox(run, { ...options, name: "announce" });
    let met = 0;
    old.on("unroutable", () => void (met += 1));
    await newer.transaction(async () => {
      await publish("slow");
      await announce("a");
    });
    const relayer = old.startRelayer();
    for (let n = 1; n <= 5; n++) {
      await until("the unroutable one has been met again", () => met > n);
      await newer.transaction(() => publish(`b${n}`));
      await until("the other key's call ran", () => ran.length === n);
    }
    slow.resolve();
    await until("the slow one ran", () => ran.length === 6);
    await relayer.stop();
    expect(ran).toEqual(["b1", "b2", "b3", "b4", "b5", "slow"]);
  });

  it("is also one whose arguments have a newer shape than is known here", async () => {
    const [old, newer] = [outboxes.open(), outboxes.openRival()];
    const ran: string[] = [];
    const note = (by: string) => async () => void ran.push(by);
    const upcast = () => [] as [];
    for (const strategy of ["keep-order", "publish-on-commit"] as const) {
      old.saveToOutbox(note("old"), { name: strategy, strategy, version: 2, upcast });
      const saved = newer.saveToOutbox(note("new"), { name: strategy, strategy, version: 3, upcast });
      await outboxes.knex.transaction((trx) => saved.with({ trx, delay: 1 })());
    }
    let unroutable = 0;
    while (unroutable < 2) unroutable += (await old.relay()).unroutable;
    await dueNow();
    expect(await newer.relay()).toMatchObject({ published: 2 });
    expect(ran).toEqual(["new", "new"]);
  });

  it("is given back on publish-on-commit for a while, and delays no other", async () => {
    const [old, newer] = [outboxes.open({ concurrency: 2 }), outboxes.openRival()];
    const ran: string[] = [];
    const send = async (n: number) => void ran.push(`send${n}`);
    old.saveToOutbox(send, { name: "send" });
    const known = newer.saveToOutbox(send, { name: "send" });
    const unknown = newer.saveToOutbox(async (n: number) => void ran.push(`new${n}`), { name: "sendNew" });
    await outboxes.knex.transaction(async (trx) => {
      for (let n = 0; n < 50; n++) await unknown.with({ trx, delay: 1 })(n);
      for (let n = 0; n < 5; n++) await known.with({ trx, delay: 2 })(n);
    });
    await until("all are due", async () => (await old.calls.list({ state: "due" })).length === 55);
    expect(await old.relay()).toMatchObject({ published: 5, unroutable: 50 });
    expect(await old.relay()).toMatchObject({ published: 0, unroutable: 0 });
    expect(
      (await outboxes.rows()).every(
        ({ attempts, isLeased, state }) => attempts === 0 && !isLeased && state === "pending",
      ),
    ).toBe(true);
    await dueNow();
    expect(await newer.relay()).toMatchObject({ published: 50 });
    expect(ran).toHaveLength(55);
  });
});
