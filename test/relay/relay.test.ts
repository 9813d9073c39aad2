import { expect, it } from "vitest";
import { createOutbox, InvalidOptionError, NotMigratedError, OutboxClosedError, type Outbox } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { deferred, gate, until } from "../support/waiting.js";

const NOTHING = { published: 0, failed: 0, dead: 0, unroutable: 0, blocked: [], blockedCount: 0 };

describeEachEngine("relay()", (engine) => {
  const outboxes = useOutboxes(engine);

  /** `send(n)`, publish-on-commit, saved so that only a relay runs it. */
  function sender(outbox: Outbox, stream = "default", during: (n: number) => unknown = () => undefined) {
    const ran: number[] = [];
    const send = outbox.saveToOutbox(
      async (n: number) => {
        await during(n);
        ran.push(n);
      },
      { name: `send ${stream}`, stream },
    );
    const save = async (...numbers: number[]) => {
      await outbox.transaction(async () => {
        for (const n of numbers) await send.with({ delay: 1 })(n);
      });
      await until("they are due", async () => (await outbox.calls.list({ state: "pending" })).length === 0);
    };
    return { send, save, ran };
  }

  it("does nothing where nothing is due", async () => {
    const outbox = outboxes.open();
    const { send, ran } = sender(outbox);
    expect(await outbox.relay()).toEqual(NOTHING);
    await outbox.transaction(() => send.with({ delay: "1h" })(1));
    await outbox.transaction(() => send.with({ runAt: new Date(Date.now() + 3_600_000) })(2));
    expect(await outbox.relay()).toEqual(NOTHING);
    expect(ran).toEqual([]);
  });

  it("counts what became of the calls, each once", async () => {
    const outbox = outboxes.open({ retry: { initialDelay: "1h" } });
    const rival = outboxes.openRival();
    const unknown = rival.saveToOutbox(async () => undefined, { name: "unknown" });
    const fail = async (fails: boolean) => {
      if (fails) throw new Error("down");
    };
    const soft = outbox.saveToOutbox(fail, { name: "soft" });
    const hard = outbox.saveToOutbox(fail, { name: "hard", retry: () => false });
    const inOrder = outbox.saveToOutbox(async (_key: string, fails: boolean) => fail(fails), {
      name: "inOrder",
      strategy: "keep-order",
      stream: "orders",
      orderingKey: (key) => key,
    });
    const blocked = await outboxes.knex.transaction(async (trx) => {
      for (const fails of [false, true, true]) await soft.with({ trx, delay: 1 })(fails);
      for (const fails of [true, false, true]) await hard.with({ trx, delay: 1 })(fails);
      await unknown.with({ trx, delay: 1 })();
      await inOrder.in(trx)("a", false);
      const saved = await inOrder.in(trx)("a", true);
      await inOrder.in(trx)("a", false);
      await inOrder.in(trx)("b", false);
      return saved;
    });
    await until("all are due", async () => (await outbox.calls.list({ state: "pending" })).length === 0);
    expect(await outbox.relay()).toEqual({
      published: 4,
      failed: 3,
      dead: 2,
      unroutable: 1,
      blocked: [{ stream: "orders", orderingKey: "a", id: blocked.id }],
      blockedCount: 1,
    });
    expect(await outbox.relay()).toEqual(NOTHING);
  });

  it("runs at most `limit` calls, over all streams together", async () => {
    const outbox = outboxes.open();
    const streams = ["one", "two", "three"].map((stream) => sender(outbox, stream));
    for (const { save } of streams) await save(1, 2, 3);
    const inOrder = outbox.saveToOutbox(async (_n: number) => undefined, { name: "inOrder", strategy: "keep-order" });
    await outbox.transaction(() => Promise.all([1, 2, 3].map((n) => inOrder(n))));
    expect(await outbox.relay({ limit: 0 })).toEqual(NOTHING);
    const published: number[] = [];
    for (const limit of [1, 2, 4]) published.push((await outbox.relay({ limit })).published);
    expect(published).toEqual([1, 2, 4]);
    expect(await outboxes.rows()).toHaveLength(5);
    expect(await outbox.relay({ limit: 100 })).toMatchObject({ published: 5 });
  });

  it("uses its limit up, also where one stream has less to do than another", async () => {
    const outbox = outboxes.open();
    await sender(outbox, "one").save(1, 2);
    await sender(outbox, "two").save(1, 2, 3);
    await sender(outbox, "three").save(1, 2, 3);
    expect(await outbox.relay({ limit: 7 })).toMatchObject({ published: 7 });
    expect(await outbox.relay({ limit: 7 })).toMatchObject({ published: 1 });
  });

  it("starts nothing after its deadline, and resolves when what it started has ended", async () => {
    const outbox = outboxes.open({ concurrency: 1 });
    let deadline = new Date(Date.now() - 1);
    const { save, ran } = sender(outbox, "default", async (n) => {
      if (n === 1) await until("the deadline has passed", () => Date.now() > deadline.getTime());
    });
    const inOrder = outbox.saveToOutbox(async (n: number) => void ran.push(n), {
      name: "inOrder",
      strategy: "keep-order",
    });
    await save(1, 2, 3);
    expect(await outbox.relay({ deadline })).toEqual(NOTHING);
    deadline = new Date(Date.now() + 500);
    expect(await outbox.relay({ deadline })).toEqual({ ...NOTHING, published: 1 });
    expect(Date.now()).toBeGreaterThan(deadline.getTime());
    expect(ran).toEqual([1]);
    await outbox.transaction(() => inOrder(4));
    expect(await outbox.relay({ deadline })).toEqual(NOTHING);
    expect(await outbox.relay({ deadline: new Date(Date.now() + 60_000) })).toMatchObject({ published: 3 });
  });

  it("ends although each run saves another call", async () => {
    const outbox = outboxes.open();
    let made = 0;
    const chain = outbox.saveToOutbox(
      async (): Promise<void> => {
        made += 1;
        await outbox.transaction(() => chain.with({ delay: 1 })());
      },
      { name: "chain" },
    );
    const inOrder = outbox.saveToOutbox(
      async (): Promise<void> => {
        made += 1;
        await outbox.transaction(() => inOrder());
      },
      { name: "inOrder", strategy: "keep-order" },
    );
    await outbox.transaction(async () => {
      for (let n = 0; n < 3; n++) await chain.with({ delay: 1 })();
      for (let n = 0; n < 3; n++) await inOrder();
    });
    await until("all are due", async () => (await outbox.calls.list({ state: "due" })).length === 6);
    expect(await outbox.relay()).toMatchObject({ published: 6 });
    expect(made).toBe(6);
    expect(await outboxes.rows()).toHaveLength(6);
  });

  it("ends although calls keep coming for a key that stood aside", async () => {
    const outbox = outboxes.open({ retry: { initialDelay: 0 }, pollInterval: 5 });
    let isDown = true;
    let ran = 0;
    const inOrder = outbox.saveToOutbox(
      async (): Promise<void> => {
        if (isDown) throw new Error("down");
        ran += 1;
        // A call that the line's next look sets aside, behind those that are being run.
        await outbox.transaction(() => inOrder());
        await until("it was set aside", async () => (await outboxes.rows()).every(({ state }) => state === "held"));
      },
      { name: "inOrder", strategy: "keep-order" },
    );
    await outbox.transaction(async () => {
      for (let n = 0; n < 5; n++) await inOrder();
    });
    await outbox.relay();
    isDown = false;
    expect(await outbox.relay()).toMatchObject({ published: 5 });
    expect(ran).toBe(5);
    expect(await outbox.relay()).toMatchObject({ published: 5 });
    expect(await outboxes.rows()).toHaveLength(5);
  });

  it("ends although calls keep coming for a key that is blocked", async () => {
    const outbox = outboxes.open({ retry: { initialDelay: "1h" } });
    const inOrder = outbox.saveToOutbox(
      async (_n: number) => {
        throw new Error("down");
      },
      { name: "inOrder", strategy: "keep-order" },
    );
    await outbox.transaction(() => inOrder(0));
    await outbox.relay();
    let isSaving = true;
    const savers = Array.from({ length: 4 }, async () => {
      for (let n = 1; isSaving; n++) await outbox.transaction(() => inOrder(n));
    });
    await until("some were saved", async () => (await outboxes.rows()).length > 10);
    expect(await outbox.relay()).toEqual(NOTHING);
    isSaving = false;
    await Promise.all(savers);
  });

  it("shares calls with the relay of another process: each runs once, each pass counts its own", async () => {
    const [outbox, rival] = [outboxes.open({ concurrency: 4 }), outboxes.openRival({ concurrency: 4 })];
    const own = sender(outbox);
    const theirs = sender(rival);
    await own.save(...Array.from({ length: 200 }, (_, n) => n));
    const results = await Promise.all([outbox.relay(), rival.relay()]);
    expect(results.map(({ published }) => published)).toEqual([own.ran.length, theirs.ran.length]);
    expect([...own.ran, ...theirs.ran].sort((a, b) => a - b)).toEqual(Array.from({ length: 200 }, (_, n) => n));
    expect(await outboxes.rows()).toEqual([]);
  });

  it("resolves only when its runs are settled", async () => {
    const outbox = outboxes.open();
    const [started, finish] = [deferred(), gate()];
    const { save } = sender(outbox, "default", async () => {
      started.resolve();
      await finish.promise;
    });
    await save(1);
    let isOver = false;
    const relayed = outbox.relay().then((result) => {
      isOver = true;
      return result;
    });
    await started.promise;
    expect(await outboxes.rows()).toHaveLength(1);
    expect(isOver).toBe(false);
    finish.resolve();
    expect(await relayed).toMatchObject({ published: 1 });
    expect(await outboxes.rows()).toEqual([]);
  });

  it("says what to run where the tables are missing, and works once they are there", async () => {
    const outbox = createOutbox({ knex: outboxes.knex, tablePrefix: `${outboxes.tablePrefix}new_` });
    try {
      await expect(outbox.relay()).rejects.toThrow(NotMigratedError);
      await outbox.migrate();
      expect(await outbox.relay()).toEqual(NOTHING);
    } finally {
      await outbox.close();
    }
  });

  it("refuses what it does not know, and everything once it is closed", async () => {
    const outbox = outboxes.open();
    const refusal = (option: string) => expect.objectContaining({ constructor: InvalidOptionError, option }) as Error;
    await expect(outbox.relay({ limit: -1 })).rejects.toThrow(refusal("limit"));
    await expect(outbox.relay({ limit: 1.5 })).rejects.toThrow(refusal("limit"));
    await expect(outbox.relay({ streams: ["a"] } as object)).rejects.toThrow(refusal("streams"));
    await outbox.close();
    await expect(outbox.relay()).rejects.toThrow(OutboxClosedError);
  });
});
