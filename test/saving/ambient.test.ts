import { AsyncLocalStorage } from "node:async_hooks";
import type { Knex } from "knex";
import { beforeEach, describe, expect, it } from "vitest";
import { currentCall, type Outbox, TransactionClosedError, TransactionRequiredError } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { deferred } from "../support/waiting.js";

describeEachEngine("the ambient transaction", (engine) => {
  const outboxes = useOutboxes(engine);
  let outbox: Outbox;
  let ran: unknown[];
  let send: (n: unknown) => Promise<unknown>;
  let sendIn: (trx: Knex.Transaction, n: unknown) => Promise<unknown>;
  beforeEach(() => {
    outbox = outboxes.open();
    ran = [];
    const saved = outbox.saveToOutbox(async (n: unknown) => void ran.push(n), { name: "send" });
    send = saved;
    sendIn = (trx, n) => saved.in(trx)(n);
  });
  const expectRan = async (...expected: unknown[]) => {
    await outbox.idle();
    await outbox.relay();
    expect({ ran: ran.toSorted(), left: await outboxes.rows() }).toEqual({ ran: expected.toSorted(), left: [] });
  };

  it("is the one of the task that calls, however many there are at once", async () => {
    await outboxes.knex.schema.createTable("tasks", (table) => void table.string("task"));
    const task = async (name: string, end: () => unknown) => {
      await outbox.transaction(async (trx) => {
        await send(`${name} first`);
        await trx("tasks").insert({ task: name });
        await Promise.all([
          outbox.transaction(async (inner) => {
            await inner.raw("select 1");
            await send(`${name} nested`);
          }),
          outbox.transaction(async () => {
            await send(`${name} rolled back`);
            throw new Error("stop");
          }).catch(() => undefined), // prettier-ignore
          send(`${name} beside`),
        ]);
        await trx.raw("select 1");
        await send(`${name} last`);
        await end();
      });
    };
    const names = Array.from({ length: 40 }, (_, n) => `task ${String(n).padStart(2, "0")}`);
    const tasks = names.map((name, n) =>
      task(name, () => (n % 3 === 0 ? Promise.reject(new Error("stop")) : undefined)),
    );
    await Promise.allSettled(tasks);
    const committed = names.filter((_, n) => n % 3 !== 0);
    expect(await outboxes.knex("tasks").orderBy("task").pluck("task")).toEqual(committed);
    await expectRan(
      ...committed.flatMap((name) => ["first", "nested", "beside", "last"].map((one) => `${name} ${one}`)),
    );
  });

  it("gives back what the work gave, or why it failed", async () => {
    expect(await outbox.transaction(async () => "late")).toBe("late");
    expect(await outbox.transaction(() => "at once")).toBe("at once");
    const failure = new Error("stop");
    await expect(outbox.transaction(() => Promise.reject(failure))).rejects.toBe(failure);
    const thrown = outbox.transaction(() => {
      throw failure;
    });
    await expect(thrown).rejects.toBe(failure);
    const unknownLevel = outbox.transaction(async () => send(1), { isolationLevel: "chaos" as never });
    await expect(unknownLevel).rejects.toThrow("isolationLevel");
    await expectRan();
  });

  it("has what was called in it, awaited or not", async () => {
    await outbox.transaction(() => {
      void send("unawaited");
    });
    await outbox.transaction(async (trx) => {
      void send("before");
      await outbox.transaction(async () => void send("nested"));
      await trx.raw("select 1").then(() => void send("after a statement"));
      void outbox.transaction(() => send("in a savepoint that was over by then"));
      await trx.transaction(async () => undefined);
    });
    await expectRan("unawaited", "before", "nested", "after a statement", "in a savepoint that was over by then");
  });

  describe("once it is over refuses calls, and stores none", () => {
    const closed = (saved: Promise<unknown>) => expect(saved).rejects.toBeInstanceOf(TransactionClosedError);
    const eager = (outbox: Outbox) => [
      outbox.saveToOutbox(async () => {}, { name: "alone", requireTransaction: false }),
      outbox.saveToOutbox(async () => {}, { name: "unstored", persist: "on-failure" }),
      outbox.saveToOutbox(async () => {}, { name: "ordered", strategy: "keep-order" }),
    ];

    it.each(["commit", "rollback"] as const)("by %s, and the work goes on", async (end) => {
      const others = eager(outbox);
      await outbox.transaction(async (trx) => {
        if (end === "commit") await send("in time");
        await trx[end]();
        await closed(send("too late"));
        await closed(sendIn(trx, "too late"));
        for (const other of others) await closed(other());
        for (const other of others) await closed(other.in(trx)());
      });
      await expectRan(...(end === "commit" ? ["in time"] : []));
    });

    it("and a task that nobody awaited goes on", async () => {
      const others = eager(outbox);
      const over = deferred();
      let trx: Knex.Transaction | undefined;
      let late: Promise<unknown> | undefined;
      await outbox.transaction(async (given) => {
        trx = given;
        late = (async () => {
          await over.promise;
          await closed(send("too late"));
          await closed(sendIn(given, "too late"));
          for (const other of others) await closed(other());
          await outbox.transaction(() => send("in another one"));
        })();
      });
      over.resolve();
      await late;
      await closed(sendIn(trx!, "too late"));
      await expectRan("in another one");
    });

    it("or is about to be, while its calls are being written", async () => {
      const writing = deferred();
      let late: Promise<unknown> | undefined;
      await outbox.transaction(async (trx) => {
        await send("in time");
        late = writing.promise.then(async () => {
          await closed(send("too late"));
          await closed(sendIn(trx, "too late"));
        });
        trx.on("query", ({ sql }: { sql: string }) => sql.includes("insert into") && writing.resolve());
      });
      await late;
      await expectRan("in time");
    });

    it("and it was a savepoint", async () => {
      const over = deferred();
      let late: Promise<unknown> | undefined;
      await outbox.transaction(async () => {
        for (const end of ["commit", "rollback"] as const) {
          await outbox.transaction(async (inner) => {
            late = over.promise.then(() => closed(send("too late")));
            await inner[end]();
            await closed(send("too late"));
            await closed(sendIn(inner, "too late"));
          });
        }
        over.resolve();
        await late;
        await send("in time");
      });
      await expectRan("in time");
    });

    it("and it was begun by knex", async () => {
      for (const end of ["commit", "rollback"] as const) {
        const trx = await outboxes.knex.transaction();
        await trx[end]();
        await closed(sendIn(trx, "too late"));
        await outboxes.knex.transaction(async (root) => {
          const inner = await root.transaction();
          await inner[end]();
          await closed(sendIn(inner, "too late"));
        });
      }
      const unawaited = deferred<unknown>();
      await outboxes.knex.transaction(async (trx) => {
        sendIn(trx, "too late").catch(unawaited.resolve);
      });
      expect(await unawaited.promise).toBeInstanceOf(TransactionClosedError);
      await expectRan();
    });
  });

  it("is not another one that knex begins inside, whose end is its own", async (context) => {
    if (engine.name === "pglite") return context.skip("one connection has one transaction at a time");
    const other = outboxes.knex.transaction.bind(outboxes.knex);
    await outbox.transaction(async () => {
      await other(async (trx) => {
        await send("outer");
        await sendIn(trx, "other");
        throw new Error("stop");
      }).catch(() => undefined); // prettier-ignore
    });
    const rolledBack = outbox.transaction(async () => {
      await other(async (trx) => {
        await send("outer of one rolled back");
        await sendIn(trx, "other of one rolled back");
      });
      throw new Error("stop");
    });
    await expect(rolledBack).rejects.toThrow("stop");
    await expectRan("outer", "other of one rolled back");
  });

  it("is its outbox's alone", async (context) => {
    const another = outboxes.openRival();
    const sendThere = another.saveToOutbox(async () => {}, { name: "sendThere" });
    await outbox.transaction(async () => {
      await expect(sendThere()).rejects.toBeInstanceOf(TransactionRequiredError);
      await send("here");
    });
    await expectRan("here");
    if (engine.name === "pglite") return context.skip("one connection has one transaction at a time");
    const rolledBack = outbox.transaction(async () => {
      await another.transaction(() => sendThere());
      throw new Error("stop");
    });
    await expect(rolledBack).rejects.toThrow("stop");
    await another.idle();
    expect(await outboxes.rows()).toEqual([]);
  });

  it("does not reach into a run, nor does anything else of whoever called", async () => {
    const request = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const inner = outbox.saveToOutbox(async () => void seen.push(`inner ${currentCall()?.attempt}`), { name: "inner" });
    const work = async (kind: string) => {
      await expect(inner()).rejects.toBeInstanceOf(TransactionRequiredError);
      seen.push(`${kind} ${currentCall()?.attempt} ${request.getStore()}`);
      await outbox.transaction(() => inner());
    };
    const stored = outbox.saveToOutbox(work, { name: "stored" });
    const unstored = outbox.saveToOutbox(work, { name: "unstored", persist: "on-failure" });
    const ordered = outbox.saveToOutbox(work, { name: "ordered", strategy: "keep-order" });
    await request.run("Alice", async () => {
      await outbox.transaction(async () => {
        for (const save of [stored, unstored, ordered]) await save(save.functionName);
      });
      let relaying: Promise<unknown> | undefined;
      await outbox.transaction(async () => {
        relaying = outbox.relay();
        await send("unrelated");
      });
      await relaying;
    });
    await outbox.idle();
    const inners = Array.from({ length: 3 }, () => "inner 1");
    expect(seen.toSorted()).toEqual([...inners, "ordered 1 undefined", "stored 1 undefined", "unstored 1 undefined"]);
    expect(currentCall()).toBeUndefined();
  });
});
