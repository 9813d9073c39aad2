import { expect, it } from "vitest";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { deferred, gate, until } from "../support/waiting.js";

describeEachEngine("keep-order", (engine) => {
  const outboxes = useOutboxes(engine);

  /** An outbox with `publish(key, n)`, which notes what it ran as `a1` and does what `during` says before. */
  function open(
    during: (call: string) => unknown = () => undefined,
    options: Parameters<typeof outboxes.open>[0] = {},
  ) {
    const outbox = outboxes.open(options);
    const ran: string[] = [];
    const run = async (key: string, n: number) => {
      await during(`${key}${n}`);
      ran.push(`${key}${n}`);
    };
    const publish = outbox.saveToOutbox(run, {
      name: "publish",
      strategy: "keep-order",
      stream: "orders",
      orderingKey: (key) => key,
    });
    const ranOf = (key: string) => ran.filter((call) => call.startsWith(key));
    return { outbox, publish, ran, ranOf, run };
  }

  it("is never run by the caller, only by a relay", async () => {
    const { outbox, publish, ran } = open();
    await outbox.transaction(() => publish("a", 1));
    await outboxes.knex.transaction((trx) => publish.in(trx)("a", 2));
    await outbox.idle();
    expect(ran).toEqual([]);
    expect(await outbox.relay()).toEqual({
      published: 2,
      failed: 0,
      dead: 0,
      unroutable: 0,
      blocked: [],
      blockedCount: 0,
    });
    expect(ran).toEqual(["a1", "a2"]);
    expect(await outboxes.rows()).toEqual([]);
    expect(await outboxes.table("keys")).toEqual([]);
  });

  it("runs none of a transaction that rolled back", async () => {
    const { outbox, publish, ran } = open();
    await outbox.transaction(() => publish("a", 1));
    const rolledBack = outbox.transaction(async () => {
      await publish("a", 2);
      throw new Error("no");
    });
    await expect(rolledBack).rejects.toThrow("no");
    await outbox.transaction(() => publish("a", 3));
    await outbox.relay();
    expect(ran).toEqual(["a1", "a3"]);
  });

  it("runs the calls of one key one at a time in their order, and the keys beside each other", async () => {
    let running = 0;
    let most = 0;
    const ofKey = new Map<string, number>();
    const overlaps: string[] = [];
    const { outbox, publish, ran, ranOf } = open(async (call) => {
      const key = call.slice(0, 1);
      ofKey.set(key, (ofKey.get(key) ?? 0) + 1);
      if (ofKey.get(key)! > 1) overlaps.push(call);
      most = Math.max(most, (running += 1));
      // Until every key has had its turn to begin.
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
      ofKey.set(key, ofKey.get(key)! - 1);
    });
    for (let n = 1; n <= 20; n++) {
      await outbox.transaction(async () => {
        for (const key of ["a", "b", "c"]) await publish(key, n);
      });
    }
    await outbox.relay();
    for (const key of ["a", "b", "c"]) {
      expect(ranOf(key)).toEqual(Array.from({ length: 20 }, (_, index) => `${key}${index + 1}`));
    }
    expect(ran).toHaveLength(60);
    expect(overlaps).toEqual([]);
    expect(most).toBe(3);
  });

  it("holds the calls without a key in one lane of their own", async () => {
    const { outbox, publish } = open();
    const [open1, otherRan] = [gate(), deferred()];
    const started: number[] = [];
    const keyless = outbox.saveToOutbox(
      async (n: number) => {
        started.push(n);
        if (n === 1) await open1.promise;
        if (n === 9) otherRan.resolve();
      },
      { name: "keyless", strategy: "keep-order", stream: "orders" },
    );
    await outbox.transaction(async () => {
      for (const n of [1, 2, 3]) await keyless(n);
      await keyless.with({ orderingKey: "a" })(9);
      await publish("b", 1);
    });
    const relayed = outbox.relay();
    await otherRan.promise;
    expect(started).toEqual([1, 9]);
    open1.resolve();
    await relayed;
    expect(started).toEqual([1, 9, 2, 3]);
  });

  it("keeps streams apart, and relays the one that is named alone", async () => {
    const { outbox, publish, ran } = open();
    const invoice = outbox.saveToOutbox(async (n: number) => void ran.push(`invoice${n}`), {
      name: "invoice",
      strategy: "keep-order",
      stream: "invoices",
    });
    await outbox.transaction(async () => {
      await publish("a", 1);
      await invoice(1);
    });
    expect(await outbox.relay({ stream: "invoices" })).toMatchObject({ published: 1 });
    expect(ran).toEqual(["invoice1"]);
    expect(await outbox.relay({ stream: "nobody's" })).toMatchObject({ published: 0 });
    expect(await outbox.relay({ stream: "orders" })).toMatchObject({ published: 1 });
    expect(ran).toEqual(["invoice1", "a1"]);
  });

  it("runs keys that differ in case or in a trailing space beside each other", async () => {
    const opened = gate();
    const { outbox, publish, ran } = open((call) => (call === "a1" ? opened.promise : undefined));
    await outbox.transaction(async () => {
      for (const key of ["a", "A", "a ", "á"]) await publish(key, 1);
    });
    const relayed = outbox.relay();
    await until("the others ran", () => ran.length === 3);
    opened.resolve();
    await relayed;
    expect(ran.slice(0, 3).sort()).toEqual(["A1", "a 1", "á1"]);
  });

  it("runs what is large in its order, too", async () => {
    const { outbox, publish } = open();
    const seen: string[] = [];
    const large = outbox.saveToOutbox(async (text: string) => void seen.push(`${text.slice(0, 1)}${text.length}`), {
      name: "large",
      strategy: "keep-order",
      stream: "orders",
    });
    await outbox.transaction(async () => {
      await large("x".repeat(100_000));
      await large("y");
      await large("z".repeat(20_000));
      await publish("a", 1);
    });
    await outbox.relay();
    expect(seen).toEqual(["x100000", "y1", "z20000"]);
  });

  it("marks calls as sent where they are kept, and never runs those again", async () => {
    const outbox = outboxes.open({ deleteAfterSend: false });
    const ran: number[] = [];
    const note = outbox.saveToOutbox(async (n: number) => void ran.push(n), { name: "note", strategy: "keep-order" });
    await outbox.transaction(async () => {
      for (const n of [1, 2, 3]) await note(n);
    });
    await outbox.relay();
    await outbox.relay();
    expect(ran).toEqual([1, 2, 3]);
    expect((await outboxes.rows()).map(({ state, attempts }) => [state, attempts])).toEqual([
      ["sent", 1],
      ["sent", 1],
      ["sent", 1],
    ]);
  });
});
