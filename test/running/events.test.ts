import { afterEach, beforeEach, expect, it } from "vitest";
import type { OutboxEventName, OutboxEvents } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";

const NAMES = [
  "saved",
  "published",
  "failed",
  "dead",
  "blocked",
  "unroutable",
  "leaseLost",
  "abandoned",
  "cleaned",
] as const satisfies OutboxEventName[];

const unhandled: unknown[] = [];
const note = (error: unknown) => void unhandled.push(error);
beforeEach(() => {
  unhandled.length = 0;
  process.on("unhandledRejection", note);
});
afterEach(() => void process.off("unhandledRejection", note));

describeEachEngine("events", (engine) => {
  const outboxes = useOutboxes(engine);

  /** An outbox with all that its listeners were told, in order. */
  function open(options: Parameters<typeof outboxes.open>[0] = {}) {
    const outbox = outboxes.open(options);
    const seen: [OutboxEventName, unknown][] = [];
    for (const name of NAMES) outbox.on(name, (event: unknown) => void seen.push([name, event]));
    return { outbox, seen };
  }

  it("tell of a call's way, each once, with all that the contract names", async () => {
    const { outbox, seen } = open({ retry: { initialDelay: 0, jitter: 0 } });
    let fails = true;
    const error = new Error("down");
    const send = outbox.saveToOutbox(
      async (_order: string, _at: Date) => {
        if (fails) throw error;
      },
      { name: "send", stream: "mails" },
    );
    const before = Date.now();
    const saved = await outbox.transaction(() => send.with({ headers: { tenant: "t1" } })("o1", new Date(5)));
    await outbox.idle();
    fails = false;
    while ((await outbox.relay()).published === 0);
    const asSaved = {
      id: saved.id,
      function: "send",
      stream: "mails",
      strategy: "publish-on-commit",
      args: ["o1", new Date(5)],
      headers: { tenant: "t1" },
    };
    const call = { ...asSaved, createdAt: expect.any(Date) as Date };
    const durationMs = expect.any(Number) as number;
    const nextAttemptAt = expect.any(Date) as Date;
    expect(seen).toEqual([
      ["saved", { call: asSaved }],
      ["failed", { call, source: "commit", attempt: 1, durationMs, error, nextAttemptAt }],
      ["published", { call, source: "relay", attempt: 2, durationMs }],
    ]);
    const failed = seen[1]![1] as OutboxEvents["failed"];
    expect(Math.abs(failed.call.createdAt.getTime() - before)).toBeLessThan(10_000);
    expect(Math.abs(failed.nextAttemptAt!.getTime() - before)).toBeLessThan(10_000);
    expect(failed.durationMs).toBeGreaterThanOrEqual(0);
    expect(failed.durationMs).toBeLessThan(10_000);
  });

  it("tell of a call's death after its last failure, which has no next attempt", async () => {
    const { outbox, seen } = open({ retry: () => false });
    const error = new Error("down");
    const doomed = outbox.saveToOutbox(
      async () => {
        throw error;
      },
      { name: "doomed" },
    );
    const { id } = await outbox.transaction(() => doomed());
    await outbox.idle();
    expect(seen.map(([name]) => name)).toEqual(["saved", "failed", "dead"]);
    expect(seen[1]![1]).toMatchObject({ call: { id }, source: "commit", attempt: 1, error });
    expect(seen[1]![1]).not.toHaveProperty("nextAttemptAt");
    expect(seen[2]![1]).toEqual({
      call: expect.objectContaining({ id }) as object,
      source: "commit",
      attempt: 1,
      error,
    });
  });

  it("tell of a keep-order key that is blocked, and until when", async () => {
    const { outbox, seen } = open({ retry: { initialDelay: "1h", maxDelay: "1h", jitter: 0 } });
    const error = new Error("down");
    const publish = outbox.saveToOutbox(
      async (_key: string) => {
        throw error;
      },
      { name: "publish", stream: "orders", strategy: "keep-order", orderingKey: (key) => key },
    );
    const { id } = await outbox.transaction(async () => {
      const first = await publish("c1");
      await publish("c1");
      return first;
    });
    seen.length = 0;
    await outbox.relay();
    expect(seen.map(([name]) => name)).toEqual(["failed", "blocked"]);
    const call = { id, function: "publish", stream: "orders", strategy: "keep-order", orderingKey: "c1", args: ["c1"] };
    expect(seen[0]![1]).toMatchObject({ call, source: "relay", attempt: 1, error });
    const blocked = seen[1]![1] as OutboxEvents["blocked"];
    expect(blocked).toEqual({
      call: expect.objectContaining(call) as object,
      error,
      nextAttemptAt: (seen[0]![1] as OutboxEvents["failed"]).nextAttemptAt,
    });
    expect(Math.abs(blocked.nextAttemptAt!.getTime() - Date.now() - 3_600_000)).toBeLessThan(30_000);
  });

  it("tell of a due call that nobody here can run", async () => {
    const { outbox, seen } = open();
    const newer = outboxes.openRival({ concurrency: 1 });
    const unknown = newer.saveToOutbox(async () => undefined, { name: "unknown", stream: "mails" });
    const unknownToo = newer.saveToOutbox(async () => undefined, { name: "unknownToo", strategy: "keep-order" });
    const ids = await newer.transaction(async () => [(await unknown.with({ delay: 1 })()).id, (await unknownToo()).id]);
    const results = [];
    while (seen.length < 2) results.push(await outbox.relay());
    expect(seen).toHaveLength(2);
    expect(seen).toEqual(
      expect.arrayContaining([
        ["unroutable", { id: ids[0], function: "unknown", stream: "mails", strategy: "publish-on-commit" }],
        ["unroutable", { id: ids[1], function: "unknownToo", stream: "default", strategy: "keep-order" }],
      ]),
    );
    expect(results.map(({ unroutable }) => unroutable).reduce((sum, one) => sum + one)).toBe(2);
    expect((await outboxes.rows()).map(({ attempts }) => attempts)).toEqual([0, 0]);
  });

  it("reach every listener, and harm nothing where one throws or rejects", async () => {
    const errors: { event?: string; err?: unknown }[] = [];
    const quiet = () => {};
    const logger = { debug: quiet, info: quiet, warn: quiet, error: (fields: object) => void errors.push(fields) };
    const outbox = outboxes.open({ logger, retry: () => false });
    const heard: string[] = [];
    for (const name of ["saved", "published", "failed", "dead"] as const) {
      outbox.on(name, () => {
        throw new Error(`${name} throws`);
      });
      outbox.on(name, async () => {
        await Promise.resolve();
        throw new Error(`${name} rejects`);
      });
      outbox.on(name, () => void heard.push(name));
    }
    const act = outbox.saveToOutbox(
      async (fails: boolean) => {
        if (fails) throw new Error("down");
      },
      { name: "act" },
    );
    await outbox.transaction(() => act(false));
    await outbox.idle();
    await outbox.transaction(() => act(true));
    await outbox.idle();
    await new Promise((resolve) => setImmediate(resolve));
    expect(heard).toEqual(["saved", "published", "saved", "failed", "dead"]);
    expect((await outboxes.rows()).map(({ state }) => state)).toEqual(["dead"]);
    expect(unhandled).toEqual([]);
    const told = errors.filter(({ event }) => event !== undefined).map(({ err }) => (err as Error).message);
    expect(told.sort()).toEqual(
      ["saved", "published", "saved", "failed", "dead"].flatMap((name) => [`${name} rejects`, `${name} throws`]).sort(),
    );
  });

  it("stop for a listener that was taken off, and for that one alone", async () => {
    const outbox = outboxes.open();
    const heard: string[] = [];
    const same = () => void heard.push("same");
    const off = outbox.on("published", () => {
      heard.push("once");
      off();
    });
    const offSame = outbox.on("published", same);
    const act = outbox.saveToOutbox(async () => undefined, { name: "act" });
    const run = async () => {
      await outbox.transaction(() => act());
      await outbox.idle();
    };
    await run();
    expect(heard).toEqual(["once", "same"]);
    await run();
    expect(heard).toEqual(["once", "same", "same"]);
    offSame();
    offSame();
    await run();
    expect(heard).toEqual(["once", "same", "same"]);
  });
});
