import type { Knex } from "knex";
import { describe, expect, it, vi } from "vitest";
import type { LogMethod, Outbox, OutboxOptions } from "../../src/index.js";
import { dialectOf } from "../../src/store/own-connections.js";
import { openStore } from "../../src/store/store.js";
import { resolveTables } from "../../src/store/tables.js";
import { StreamServer } from "../../src/strategies/stream-server.js";
import { engines } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { gate, until } from "../support/waiting.js";
import { watchedClient } from "../support/watched-client.js";
import { wrap } from "./wrap.js";

const engine = engines.find(({ name }) => name === "postgresql")!;

/** Whatever runs within a test was not found by polling. */
const patient = { pollInterval: "1h" } as const;

describe.skipIf(engine.skipReason !== undefined)("what other processes commit", () => {
  const outboxes = useOutboxes(engine);

  async function listeners(): Promise<{ pid: number }[]> {
    const { rows } = await outboxes.knex.raw<{ rows: { pid: number }[] }>(
      "select pid from pg_stat_activity where datname = current_database() and query like 'listen %'",
    );
    return rows;
  }

  /** An outbox with a relayer that hears others. */
  function openHearing(options: Partial<OutboxOptions> = {}) {
    const lines: string[] = [];
    const log: LogMethod = (_fields, message) => void lines.push(message);
    const outbox = outboxes.open({ ...patient, logger: { debug: log, info: log, warn: log, error: log }, ...options });
    const hears = (times = 1) =>
      until("it hears", () => lines.filter((line) => line.includes("is heard by NOTIFY")).length === times);
    return { outbox, lines, hears };
  }

  /** What is sent by NOTIFY for the tables of a prefix; to be closed. */
  async function overhear(tablePrefix: string) {
    const { knex } = outboxes;
    const tables = resolveTables({ tablePrefix }, dialectOf(knex));
    const store = openStore({ knex, ownConnections: 1, tables, writersLock: true, leaseMs: 1000 });
    const heard: string[] = [];
    const listening = await store.listen((message) => void heard.push(message));
    return { heard, close: () => Promise.all([listening.close(), store.close()]) };
  }

  it("wakes a relayer at once, of either kind, and in a stream that is being served", async () => {
    const [{ outbox, hears }, rival] = [openHearing(), outboxes.openRival()];
    const slow = gate();
    const { ran } = wrap(outbox, (n) => (n === 2 ? slow.promise : undefined));
    const theirs = wrap(rival);
    const inAnotherKey = (name: string) =>
      ({ strategy: "keep-order", stream: "orders", orderingKey: () => name }) as const;
    const register = (on: Outbox, note: () => void) =>
      on.saveToOutbox(async () => note(), { name: "other", ...inAnotherKey("b") });
    register(outbox, () => void ran.push(3));
    const other = register(rival, () => undefined);
    outbox.startRelayer();
    await hears();
    await rival.transaction(() => theirs.publish(1));
    await until("it ran", () => ran.includes(1));
    await rival.transaction(() => theirs.publish(2));
    await until(
      "the stream is served",
      async () => (await outboxes.table("streams").whereNotNull("lease_token")).length === 1,
    );
    await rival.transaction(() => other());
    await until("another key ran meanwhile", () => ran.includes(3));
    slow.resolve();
    await until("all have run", () => ran.length === 3);
  });

  it("is not told where it rolled back, or is not due yet", async () => {
    const [{ outbox, hears }, rival] = [openHearing(), outboxes.openRival()];
    const { ran } = wrap(outbox);
    const theirs = wrap(rival);
    const overheard = await overhear(outboxes.tablePrefix);
    try {
      await rival
        .transaction(async () => {
          await theirs.publish(1);
          throw new Error("changed its mind");
        })
        .catch(() => undefined);
      await rival.transaction(() => theirs.publish.with({ delay: "1h", orderingKey: "later" })(2));
      await rival.transaction(() => theirs.send(3));
      await rival.idle();
      expect(theirs.ran).toEqual([3]);
      outbox.startRelayer();
      await hears();
      await rival.transaction(() => theirs.publish(4));
      await until("it ran", () => ran.length > 0);
      expect(ran).toEqual([4]);
      await rival.close();
      const about = overheard.heard.filter((message) => !message.startsWith("test "));
      expect(about).toEqual([expect.stringMatching(/^\S+ keep-order orders$/)]);
    } finally {
      await overheard.close();
    }
  });

  it("is told of publish-on-commit calls that would have to wait, or be left, where they were saved", async () => {
    const [{ outbox, hears }, rival] = [openHearing(), outboxes.openRival({ concurrency: 1 })];
    const { ran } = wrap(outbox);
    const running = gate();
    const theirs = wrap(rival, () => running.promise);
    await rival.transaction(() => theirs.send(1));
    await until("it is claimed", async () => (await outboxes.rows())[0]?.isLeased);
    outbox.startRelayer();
    await hears();
    await rival.transaction(() => theirs.send(2));
    await until("the other one ran here", () => ran.length === 1);
    const ending = outboxes.openRival({ concurrency: 2 });
    const last = wrap(ending, () => running.promise);
    await ending.transaction(() => last.send(3));
    await until("it is claimed, too", async () => (await outboxes.rows()).filter((row) => row.isLeased).length === 2);
    const closing = ending.close();
    await ending.transaction(() => last.send(4));
    await until("what was saved while that one closes ran here as well", () => ran.length === 2);
    expect(ran).toEqual([2, 4]);
    running.resolve();
    await closing;
  });

  it("is heard again after the connection was killed, and nothing is missed", async () => {
    // Else what that connection sends in between would hide which one it is.
    const [{ outbox, hears, lines }, rival] = [openHearing({ prepareStatements: false }), outboxes.openRival()];
    const { ran } = wrap(outbox);
    const theirs = wrap(rival);
    outbox.startRelayer();
    for (let n = 1; n <= 5; n++) {
      await hears(n);
      const [{ pid } = { pid: 0 }] = await listeners();
      await outboxes.knex.raw("select pg_terminate_backend(?)", [pid]);
      await rival.transaction(() => theirs.publish(n));
      await until("it ran all the same", () => ran.length === n);
    }
    await hears(6);
    expect(lines.filter((line) => line.startsWith("listening for NOTIFY failed"))).toHaveLength(5);
  });

  it("is told by far fewer statements than there were commits", async () => {
    const told: string[] = [];
    const knex = outboxes.database.newKnex!({
      client: watchedClient(outboxes.knex, ({ sql }) => void told.push(sql)),
    } as Partial<Knex.Config>);
    const outbox = outboxes.open({ knex });
    const { publish } = wrap(outbox);
    const overheard = await overhear(outboxes.tablePrefix);
    const COMMITS = 1000;
    await Promise.all(
      Array.from({ length: 8 }, async (_, writer) => {
        for (let n = writer; n < COMMITS; n += 8) await outbox.transaction(() => publish(n));
      }),
    );
    await outbox.close();
    const count = (word: string) => told.filter((sql) => sql.includes(word)).length;
    await until("the last one was heard", () => overheard.heard.length >= count("pg_notify"));
    await overheard.close();
    expect(count("insert into")).toBe(COMMITS);
    expect(count("pg_notify")).toBeGreaterThan(0);
    expect(count("pg_notify")).toBeLessThan(COMMITS / 2);
    expect(overheard.heard).toHaveLength(count("pg_notify"));
  });

  it("is nothing to outboxes with other tables", async () => {
    const another = `${outboxes.tablePrefix}more_`;
    const outbox = outboxes.open({ tablePrefix: another });
    await outbox.migrate();
    const [ours, theirs] = [await overhear(another), await overhear(outboxes.tablePrefix)];
    const { publish } = wrap(outbox);
    await outbox.transaction(() => publish(1));
    const rival = outboxes.openRival();
    const second = wrap(rival);
    await rival.transaction(() => second.publish(1));
    await Promise.all([outbox.close(), rival.close()]);
    await until("both were heard", () => ours.heard.length + theirs.heard.length === 2);
    await Promise.all([ours.close(), theirs.close()]);
    expect([ours.heard.length, theirs.heard.length]).toEqual([1, 1]);
  });

  it("wakes no stream but its own", async () => {
    const wake = vi.spyOn(StreamServer.prototype, "wake");
    const [{ outbox, hears }, rival] = [openHearing(), outboxes.openRival()];
    const running = gate();
    const { ran, publish } = wrap(outbox, () => running.promise);
    const another = (on: Outbox, run: () => unknown) =>
      on.saveToOutbox(async () => run(), { name: "another", strategy: "keep-order", stream: "invoices" });
    const ourNote = another(outbox, () => ran.push(10));
    const theirNote = another(rival, () => undefined);
    outbox.startRelayer();
    await hears();
    await outbox.transaction(() => publish(1));
    await until("it is served", async () => (await outboxes.table("streams").whereNotNull("lease_token")).length === 1);
    await outbox.transaction(() => publish(2));
    const server = wake.mock.contexts.at(-1);
    expect(server).toBeInstanceOf(StreamServer);
    const before = wake.mock.contexts.filter((one) => one === server).length;
    await rival.transaction(() => theirNote());
    await until("the other stream was served", () => ran.length === 1);
    await outbox.transaction(() => ourNote());
    await until("so it was again", () => ran.length === 2);
    expect(wake.mock.contexts.filter((one) => one === server)).toHaveLength(before);
    wake.mockRestore();
    running.resolve();
  });

  it("takes one connection more, while a relayer runs and nowhere else", async () => {
    const { outbox, hears } = openHearing();
    const { publish, ran } = wrap(outbox);
    await outbox.transaction(() => publish(1));
    await outbox.relay();
    expect(await listeners()).toEqual([]);
    const [one, another] = [outbox.startRelayer(), outbox.startRelayer({ stream: "orders" })];
    await hears();
    await one.stop();
    expect(await listeners()).toHaveLength(1);
    await another.stop();
    await until("nobody listens", async () => (await listeners()).length === 0);
    outbox.startRelayer();
    await hears(2);
    await outbox.close();
    await until("nobody listens any more", async () => (await listeners()).length === 0);
    for (const options of [{ wakeUps: { notify: false } }, { ownConnections: 0 }]) {
      const deaf = outboxes.open({ ...patient, ...options });
      const quiet = wrap(deaf);
      deaf.startRelayer();
      for (const n of [1, 2, 3]) {
        await deaf.transaction(() => quiet.publish(n));
        await until("it ran", () => quiet.ran.length === n);
      }
      expect(await listeners()).toEqual([]);
      await deaf.close();
    }
    expect(ran).toEqual([1]);
  });

  it("is heard once the tables are there, and leaves nothing behind where they are not", async () => {
    const tablePrefix = `${outboxes.tablePrefix}later_`;
    const { outbox, lines, hears } = openHearing({ tablePrefix });
    const relayer = outbox.startRelayer();
    await until("it cannot listen", () => lines.some((line) => line.startsWith("listening for NOTIFY failed")));
    await relayer.stop();
    expect(await listeners()).toEqual([]);
    outbox.startRelayer();
    await outbox.migrate();
    await hears();
  });
});
