import { expect, it } from "vitest";
import { InvalidOptionError, OutboxClosedError } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { deferred, gate, until } from "../support/waiting.js";
import { wrap } from "./wrap.js";

describeEachEngine("a relayer", (engine) => {
  const outboxes = useOutboxes(engine);

  const gone = () => until("all have run", async () => (await outboxes.rows()).length === 0);

  it("is woken by a commit of this process, however it was made, long before its interval", async () => {
    const outbox = outboxes.open({ requireTransaction: false, pollInterval: "1h" });
    const { publish, ran } = wrap(outbox);
    const relayer = outbox.startRelayer({ interval: "1h" });
    await outbox.transaction(() => publish(1));
    await until("the first ran", () => ran.length === 1);
    await outboxes.knex.transaction((trx) => publish.in(trx)(2));
    await until("the second ran", () => ran.length === 2);
    await publish(3);
    await until("the third ran", () => ran.length === 3);
    await outbox.transaction((trx) => trx.transaction((savepoint) => publish.in(savepoint)(4)));
    await until("the fourth ran", () => ran.length === 4);
    await gone();
    await relayer.stop();
  });

  it("misses no commit that comes when it is about to end its work", async () => {
    const outbox = outboxes.open({ pollInterval: "1h" });
    const { publish, ran } = wrap(outbox);
    const relayer = outbox.startRelayer();
    // Each is committed about when the serving of the one before ends.
    for (let n = 1; n <= 100; n++) {
      await outbox.transaction(() => publish(n));
      await until(`call ${n} ran`, () => ran.length === n);
    }
    await gone();
    await relayer.stop();
  });

  it("finds by polling what other processes commit, what failed, and what a dead one left", async () => {
    const [outbox, rival] = [outboxes.open({ retry: { initialDelay: 30 } }), outboxes.openRival()];
    let fails = 2;
    const { ran } = wrap(outbox, () => {
      if (fails-- > 0) throw new Error("down");
    });
    const theirs = wrap(rival);
    const relayer = outbox.startRelayer({ interval: 10 });
    await rival.transaction(() => theirs.publish(1));
    await until("what another process committed ran, after failures", () => ran.length === 1);
    await outboxes.knex.transaction((trx) => theirs.send.with({ trx, delay: "1h" })(2));
    const left = { lease_id: "0190a2b4-0000-7000-8000-000000000000", fence: 1 };
    await outboxes.table("calls").where({ function_name: "send" }).update(left);
    await outboxes.expireLeases();
    await until("what a dead process left ran", () => ran.length === 2);
    await gone();
    await relayer.stop();
    expect(ran).toEqual([1, 2]);
  });

  it("does not hear of commits where wake-ups are switched off, and finds them by polling", async () => {
    const outbox = outboxes.open({ wakeUps: { local: false, notify: false }, pollInterval: "1h" });
    const { publish, ran } = wrap(outbox);
    await outbox.transaction(() => publish(1));
    const relayer = outbox.startRelayer();
    const isFree = async () => (await outboxes.table("streams").whereNull("lease_token")).length === 1;
    await until("its first look is over", async () => ran.length === 1 && isFree());
    await outbox.transaction(() => publish(2));
    for (let n = 0; n < 10; n++) expect(await outboxes.rows()).toHaveLength(1);
    await relayer.stop();
    const polling = outbox.startRelayer({ interval: 5 });
    await until("it was found", () => ran.length === 2);
    await gone();
    await polling.stop();
  });

  it("serves the stream that is named alone", async () => {
    const outbox = outboxes.open();
    const { publish, send, ran } = wrap(outbox);
    const relayer = outbox.startRelayer({ stream: "orders", interval: 5 });
    await outbox.transaction(() => send.with({ delay: 1 })(1));
    await until("it is due", async () => (await outbox.calls.list({ state: "due" })).length === 1);
    for (const n of [2, 3, 4]) {
      await outbox.transaction(() => publish(n));
      await until("it ran", () => ran.includes(n));
    }
    await relayer.stop();
    expect(ran).toEqual([2, 3, 4]);
    expect(await outboxes.rows()).toMatchObject([{ functionName: "send" }]);
  });

  it("serves more due streams than it has slots, long before its next interval", async () => {
    const outbox = outboxes.open({ concurrency: 3, pollInterval: "1h" });
    const ran = new Set<string>();
    const streams = Array.from({ length: 20 }, (_, index) => `s${index}`);
    const saves = streams.flatMap((stream) =>
      (["keep-order", "publish-on-commit"] as const).map((strategy) =>
        outbox.saveToOutbox(async () => void ran.add(`${stream} ${strategy}`), {
          name: `${stream} ${strategy}`,
          stream,
          strategy,
        }),
      ),
    );
    await outbox.transaction(async () => {
      for (const save of saves) await save.with({ delay: 1 })();
    });
    await until("all are due", async () => (await outbox.calls.list({ state: "due" })).length === 40);
    const relayer = outbox.startRelayer();
    await until("all streams were served", () => ran.size === 40);
    await gone();
    await relayer.stop();
  });

  it("lets what runs finish when it is stopped, and begins nothing more", async () => {
    const outbox = outboxes.open();
    const [inOrderEnds, otherEnds, started] = [gate(), gate(), deferred()];
    const begun: number[] = [];
    const { publish, send, ran } = wrap(outbox, async (n) => {
      begun.push(n);
      if (begun.length === 2) started.resolve();
      await (n < 10 ? inOrderEnds : otherEnds).promise;
    });
    await outbox.transaction(async () => {
      for (const n of [1, 2, 3]) await publish(n);
    });
    await outboxes.knex.transaction((trx) => send.with({ trx, delay: 1 })(10));
    const relayer = outbox.startRelayer({ interval: 5 });
    await started.promise;
    let isStopped = false;
    const stopping = relayer.stop().then(() => (isStopped = true));
    await outbox.transaction(async () => {
      await publish(4);
      await send.with({ delay: 1 })(11);
    });
    await until("it is due", async () => (await outbox.calls.list({ state: "pending" })).length === 0);
    expect(isStopped).toBe(false);
    inOrderEnds.resolve();
    const isServed = async () => (await outboxes.table("streams").whereNull("lease_token")).length === 1;
    await until("the stream is no longer served", isServed);
    expect(await outboxes.rows()).toHaveLength(5);
    expect(isStopped).toBe(false);
    otherEnds.resolve();
    await stopping;
    expect(begun.sort((a, b) => a - b)).toEqual([1, 10]);
    expect(ran.sort((a, b) => a - b)).toEqual([1, 10]);
    expect((await outboxes.rows()).map(({ state, attempts, isLeased }) => [state, attempts, isLeased])).toEqual([
      ["pending", 0, false],
      ["pending", 0, false],
      ["pending", 0, false],
      ["pending", 0, false],
    ]);
    await relayer.stop();
    expect(await outbox.relay()).toMatchObject({ published: 4 });
    expect(ran.filter((n) => n < 10)).toEqual([1, 2, 3, 4]);
  });

  it("leaves its stream's lease to the next when it is stopped", async () => {
    const [outbox, rival] = [outboxes.open({ lease: "1h" }), outboxes.openRival()];
    const [own, theirs] = [wrap(outbox), wrap(rival)];
    const relayer = outbox.startRelayer({ interval: 5 });
    await outbox.transaction(() => own.publish(1));
    await until("it ran", () => own.ran.length === 1);
    await relayer.stop();
    await outbox.transaction(() => own.publish(2));
    expect(await rival.relay()).toMatchObject({ published: 1 });
    expect(theirs.ran).toEqual([2]);
  });

  it("refuses what it does not know, and everything once its outbox is closed", async () => {
    const outbox = outboxes.open();
    const refusal = (option: string) => expect.objectContaining({ constructor: InvalidOptionError, option }) as Error;
    expect(() => outbox.startRelayer({ interval: 0 })).toThrow(refusal("interval"));
    expect(() => outbox.startRelayer({ interval: "soon" })).toThrow(refusal("interval"));
    expect(() => outbox.startRelayer({ streams: ["a"] } as object)).toThrow(refusal("streams"));
    await outbox.close();
    expect(() => outbox.startRelayer()).toThrow(OutboxClosedError);
  });
});
