import { expect, it } from "vitest";
import { UnrecoverableError, type OutboxEvents, type Outbox, type Retry } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { until } from "../support/waiting.js";

describeEachEngine("a publish-on-commit call that fails", (engine) => {
  const outboxes = useOutboxes(engine);

  /** Relays until the call has been settled for good. */
  async function relayUntilOver(outbox: Outbox): Promise<void> {
    await until("nothing is pending", async () => {
      await outbox.relay();
      return (await outboxes.rows()).every((row) => row.state !== "pending");
    });
  }

  it("is run again by the relay, and by nobody before it is due", async () => {
    const outbox = outboxes.open({ retry: { initialDelay: "1h", maxDelay: "1h", jitter: 0 } });
    let fails = true;
    const seen: string[] = [];
    const flaky = outbox.saveToOutbox(
      async () => {
        if (fails) throw new Error("down");
      },
      { name: "flaky" },
    );
    outbox.on("failed", (event) => void seen.push(`failed ${event.source} ${event.attempt}`));
    outbox.on("published", (event) => void seen.push(`published ${event.source} ${event.attempt}`));
    const before = Date.now();
    await outbox.transaction(() => flaky());
    await outbox.idle();
    const [call] = await outbox.calls.list();
    expect(call).toMatchObject({ state: "pending", attempts: 1 });
    expect(call!.lastError).toMatch(/^Error: down\n/);
    expect(call!.dueAt.getTime() - before).toBeGreaterThan(3_590_000);
    expect(call!.dueAt.getTime() - before).toBeLessThan(3_630_000);
    expect(await outboxes.relayBesideAnother(outbox)).toMatchObject({ published: 1, failed: 0 });

    fails = false;
    await outboxes.table("calls").update({ due_at: outboxes.knex.raw(outboxes.dialect.now) });
    expect(await outbox.relay()).toMatchObject({ published: 1 });
    expect(seen).toEqual(["failed commit 1", "published relay 1", "published relay 2"]);
    expect(await outboxes.rows()).toEqual([]);
  });

  it("waits longer after each failure, as its schedule says", async () => {
    const outbox = outboxes.open();
    const hours: number[] = [];
    const doomed = outbox.saveToOutbox(
      () => {
        throw new Error("down");
      },
      { name: "doomed", retry: { initialDelay: "1h", factor: 3, maxDelay: "10h", jitter: 0, maxAttempts: 5 } },
    );
    await outbox.transaction(() => doomed());
    await outbox.idle();
    for (let attempts = 1; attempts < 5; attempts++) {
      const [call] = await outbox.calls.list();
      expect(call).toMatchObject({ state: "pending", attempts });
      hours.push(Math.round((call!.dueAt.getTime() - Date.now()) / 36_000) / 100);
      await outboxes.table("calls").update({ due_at: outboxes.knex.raw(outboxes.dialect.now) });
      await outbox.relay();
    }
    expect(hours).toEqual([1, 3, 9, 10]);
    expect(await outboxes.rows()).toMatchObject([{ state: "dead", attempts: 5 }]);
  });

  it.each<[why: string, retry: Retry, error: unknown, attempts: number]>([
    ["after maxAttempts", { initialDelay: 1, maxAttempts: 3 }, new Error("down"), 3],
    ["by its function's false", (_error, attempt) => (attempt < 2 ? 1 : false), new Error("down"), 2],
    ["by an UnrecoverableError", { initialDelay: 1 }, new UnrecoverableError("no such customer"), 1],
    ["older than giveUpAfter", { initialDelay: 1, giveUpAfter: 0 }, new Error("down"), 1],
  ])("is dead %s, is kept, and is never run again", async (_why, retry, error, attempts) => {
    const outbox = outboxes.open();
    const dead: OutboxEvents["dead"][] = [];
    let runs = 0;
    const doomed = outbox.saveToOutbox(
      async (_order: string) => {
        runs += 1;
        throw error;
      },
      { name: "doomed", retry },
    );
    outbox.on("dead", (event) => void dead.push(event));
    const { id } = await outbox.transaction(() => doomed("o1"));
    await outbox.idle();
    await relayUntilOver(outbox);
    expect(runs).toBe(attempts);
    expect(dead).toMatchObject([{ call: { id, args: ["o1"] }, attempt: attempts, error }]);

    await outboxes.table("calls").update({ due_at: outboxes.knex.raw(outboxes.dialect.after("-3600000")) });
    expect(await outboxes.relayBesideAnother(outbox)).toMatchObject({ published: 1, failed: 0, dead: 0 });
    expect(runs).toBe(attempts);
    const [call] = await outbox.calls.list();
    expect(call).toMatchObject({ id, state: "dead", attempts });
    expect(call!.lastError).toContain("Error: ");
  });

  it("is retried by the default policy where its own one fails", async () => {
    const errors: object[] = [];
    const quiet = () => {};
    const logger = { debug: quiet, info: quiet, warn: quiet, error: (fields: object) => void errors.push(fields) };
    const outbox = outboxes.open({ logger });
    const doomed = outbox.saveToOutbox(
      () => {
        throw new Error("down");
      },
      {
        name: "doomed",
        retry: () => {
          throw new Error("a bug in the policy");
        },
      },
    );
    await outbox.transaction(() => doomed());
    await outbox.idle();
    const [call] = await outbox.calls.list();
    expect(call).toMatchObject({ state: "pending", attempts: 1 });
    expect(call!.dueAt.getTime() - Date.now()).toBeLessThan(60_000);
    expect(errors).toMatchObject([{ function: "doomed", err: { message: "a bug in the policy" } }]);
  });

  it("waits no longer than a database can add to its clock", async () => {
    const outbox = outboxes.open();
    const doomed = outbox.saveToOutbox(
      () => {
        throw new Error("down");
      },
      { name: "doomed", retry: () => Number.MAX_VALUE },
    );
    await outbox.transaction(() => doomed());
    await outbox.idle();
    const [call] = await outbox.calls.list();
    expect(call).toMatchObject({ state: "pending", attempts: 1 });
    expect(call!.dueAt.getUTCFullYear()).toBeGreaterThan(2090);
  });

  it("keeps an error text that databases refuse, cleaned and cut", async () => {
    const outbox = outboxes.open();
    const doomed = outbox.saveToOutbox(
      () => {
        throw Object.assign(new Error(), { stack: `a\0b\ud800c${"ü🙂".repeat(4000)}` });
      },
      { name: "doomed" },
    );
    await outbox.transaction(() => doomed());
    await outbox.idle();
    const [row] = await outboxes.rows();
    expect(row).toMatchObject({ state: "pending", attempts: 1, isLeased: false });
    expect(row!.lastError).toMatch(/^a\u2400b\ufffdcü🙂ü🙂/);
    expect(row!.lastError!.length).toBe(4000);
  });
});
