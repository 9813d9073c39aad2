import type { Knex } from "knex";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { createOutbox, currentCall, NotMigratedError, type Outbox, type OutboxOptions } from "../../src/index.js";
import { checkHistory, NO_FAULTS, type Run } from "../guarantees/history.js";
import { sessionsWith } from "../store/support.js";
import type { TestDatabase } from "../support/databases.js";
import { sessionsAwaitingLocks } from "../support/lock-waits.js";
import { describeEachServer } from "../support/outboxes.js";
import { deferred, gate, openGates, until } from "../support/waiting.js";
import { type OldCall, OldLibrary } from "./version-1/library.js";
import { makeTablesOfVersion1 } from "./version-1/tables.js";

// Two libraries at once, of the first version of the tables and of today's: no deploy replaces all processes in one moment.
describeEachServer("an upgrade from version 1 of the tables", (engine) => {
  let database: TestDatabase;
  let knex: Knex;
  let oldKnex: Knex;
  let prefix: string;
  let tests = 0;
  let ran: string[];
  const opened: Outbox[] = [];
  /** What a run of `publish` or `send` does, in whichever library. */
  let work: (by: "old" | "new", call: string) => Promise<void>;

  beforeAll(async () => {
    database = await engine.create();
    knex = database.knex;
    const isolation = "transaction isolation level read committed";
    const set = engine.dialect === "pg" ? `set session characteristics as ${isolation}` : `set session ${isolation}`;
    oldKnex = database.newKnex!({ pool: sessionsWith([set]) });
  });
  beforeEach(async () => {
    prefix = `u${(tests += 1)}_`;
    ran = [];
    work = async (by, call) => void ran.push(`${by} ${call}`);
    await makeTablesOfVersion1(knex, prefix);
  });
  afterEach(async () => {
    openGates();
    await Promise.all(opened.splice(0).map((outbox) => outbox.close()));
  });
  afterAll(() => database.close());

  function openNew(options: Partial<OutboxOptions> = {}) {
    const retry = { initialDelay: 20, factor: 1, jitter: 0 };
    const outbox = createOutbox({ knex, tablePrefix: prefix, pollInterval: 10, retry, ...options });
    opened.push(outbox);
    const publish = outbox.saveToOutbox((key: string, n: number) => work("new", `${key}${n}`), {
      name: "publish",
      strategy: "keep-order",
      stream: "orders",
      orderingKey: (key) => key,
    });
    return { outbox, publish, send: outbox.saveToOutbox((n: number) => work("new", `send${n}`), { name: "send" }) };
  }

  const openOld = () =>
    new OldLibrary(oldKnex, prefix, (name, args) =>
      work("old", name === "send" ? `send${args[0] as number}` : args.join("")),
    );
  const publishing = (key: string, n: number): OldCall => ({
    functionName: "publish",
    stream: "orders",
    strategy: "keep-order",
    key,
    args: [key, n],
  });
  const sending = (n: number): OldCall => ({
    functionName: "send",
    stream: "default",
    strategy: "publish-on-commit",
    args: [n],
  });
  const saveOld = (old: OldLibrary, calls: OldCall[]) =>
    oldKnex.transaction(async (trx) => {
      for (const call of calls) await old.save(trx, call);
    });
  const rows = () => knex<Record<string, unknown>>(`${prefix}calls`).orderBy("seq");

  it("begins with a new library that saves nothing, runs nothing and says so, until the tables are migrated", async () => {
    const old = openOld();
    await saveOld(old, [publishing("a", 1), sending(1)]);
    await knex.schema.createTable(`${prefix}app`, (table) => void table.integer("number"));
    const { outbox, publish, send } = openNew();
    const ambient = outbox.transaction(async (trx) => {
      await trx(`${prefix}app`).insert({ number: 1 });
      await send(2);
    });
    await expect(ambient).rejects.toThrow(NotMigratedError);
    expect(await knex(`${prefix}app`)).toEqual([]);
    await expect(knex.transaction((trx) => publish.in(trx)("a", 2))).rejects.toThrow(NotMigratedError);
    await expect(outbox.relay()).rejects.toThrow(/are at version 1 and this release needs/);
    const errors: unknown[] = [];
    outbox.startRelayer({ onError: (error) => void errors.push(error) });
    await until("a relayer has said so twice", () => errors.length >= 2);
    expect(errors.every((error) => error instanceof NotMigratedError)).toBe(true);
    expect(ran).toEqual([]);
    while ((await old.relay()) > 0);
    expect(ran.sort()).toEqual(["old a1", "old send1"]);
    await saveOld(old, [publishing("a", 2)]);
    await openNew().outbox.migrate();
    await until("the relayer has gone on by itself", () => ran.includes("new a2"), 60_000);
    await outbox.transaction(() => send(2));
    await until("a new call ran", () => ran.includes("new send2"));
  });

  it("leaves the new library what the old one has begun: failed, blocked, claimed and served", async () => {
    const old = openOld();
    await saveOld(old, [sending(1), publishing("a", 1), publishing("a", 2), publishing("b", 1)]);
    const attempts = new Map<string, number>();
    work = async (by, call) => {
      if (by === "old" && call !== "b1") throw new Error("not yet");
      attempts.set(call, currentCall()?.attempt ?? 0);
      ran.push(`${by} ${call}`);
    };
    await old.relay();
    // A pass more, in which what stands behind the head is set aside.
    await old.relay();
    await saveOld(old, [publishing("a", 3), publishing("c", 1), sending(2)]);
    const past = engine.dialect === "pg" ? "now() - interval '1 s'" : "utc_timestamp(6) - interval 1 second";
    const token = "0190b5a8-5d3c-7000-8000-000000000001";
    const died = { lease_token: token, fence: 1, due_at: knex.raw(past) };
    const [, last] = (await rows().where({ function_name: "send" })) as [unknown, { id: string }];
    await rows().where({ id: last.id }).update(died);
    await knex(`${prefix}streams`).update({ lease_token: token, lease_until: knex.raw(past) });
    expect(ran.splice(0)).toEqual(["old b1"]);
    const { outbox } = openNew();
    await outbox.migrate();
    outbox.startRelayer();
    await until("all ran", () => ran.length === 6);
    expect(ran.filter((call) => call.startsWith("new a"))).toEqual(["new a1", "new a2", "new a3"]);
    expect([...ran].sort()).toEqual(["new a1", "new a2", "new a3", "new c1", "new send1", "new send2"]);
    expect(attempts.get("send1")).toBeGreaterThan(1);
    expect(attempts.get("a1")).toBeGreaterThan(1);
    expect(attempts.get("a2")).toBe(1);
    await outbox.idle();
    await until("all is settled", async () => (await rows()).length === 0);
  });

  it("leaves the old library what the new one has begun, as after a deploy that is taken back", async () => {
    const { outbox, publish, send } = openNew();
    await outbox.migrate();
    work = async (by, call) => {
      if (by === "new" && call !== "b1") throw new Error("not yet");
      ran.push(`${by} ${call}`);
    };
    await outbox.transaction(async () => {
      await publish("a", 1);
      await publish("a", 2);
      await publish("b", 1);
      await send(1);
    });
    await outbox.idle();
    await outbox.relay();
    await outbox.transaction(() => publish("a", 3));
    await outbox.relay();
    await outbox.close();
    await knex.transaction((trx) => send.in(trx)(2));
    const old = openOld();
    // It cannot tell that a publish-on-commit call is claimed, and so claims none; the new library has them.
    const left = async () => (await rows()).map((row) => row["function_name"]);
    await until("the old library has run the others", async () => {
      await old.relay();
      return (await left()).join() === "send,send";
    });
    expect(old.refused).toBeGreaterThan(0);
    expect(ran).toEqual(["new b1", "old a1", "old a2", "old a3"]);
    work = async (by, call) => void ran.push(`${by} ${call}`);
    const again = openNew();
    await until("the new library has run them", async () => {
      await again.outbox.relay();
      return (await rows()).length === 0;
    });
    expect(ran.slice(4).sort()).toEqual(["new send1", "new send2"]);
  });

  it("runs again what the old library was running when the tables were migrated, once its lease has ended and not before", async () => {
    const [old, other] = [openOld(), openOld()];
    await saveOld(old, [sending(1), sending(2), sending(3)]);
    const [begun, mayEnd] = [deferred(), gate()];
    const running = new Set<string>();
    const twice: string[] = [];
    work = async (by, call) => {
      if (running.has(call)) twice.push(call);
      running.add(call);
      begun.resolve();
      if (by === "old") await mayEnd.promise;
      running.delete(call);
      ran.push(`${by} ${call}`);
    };
    const relaying = old.relay();
    await begun.promise;
    const { outbox } = openNew();
    await outbox.migrate();
    const claimed = await rows();
    await saveOld(other, [sending(4)]);
    for (const one of [outbox, outbox, other]) await one.relay();
    expect(ran).toEqual(["new send4"]);
    for (const { id } of claimed) {
      expect(await outbox.calls.get(id as string)).toMatchObject({ state: "running", attempts: 0 });
    }
    mayEnd.resolve();
    expect(await relaying).toBe(1);
    expect(old.refused).toBe(1);
    expect(ran).toEqual(["new send4", "old send1"]);
    // It could not settle, and has changed nothing.
    expect(await rows()).toEqual(claimed);
    await outbox.relay();
    expect(ran).toHaveLength(2);
    const past = engine.dialect === "pg" ? "now() - interval '1 s'" : "utc_timestamp(6) - interval 1 second";
    await knex(`${prefix}calls`).update({ due_at: knex.raw(past) });
    const ended = await rows();
    expect(await other.relay()).toBe(0);
    expect(other.refused).toBe(1);
    expect(await rows()).toEqual(ended);
    await until("the new library has run them", async () => {
      await outbox.relay();
      return (await rows()).length === 0;
    });
    expect(ran.slice(2).sort()).toEqual(["new send1", "new send2", "new send3"]);
    expect(twice).toEqual([]);
  });

  it("takes what the old library stores of calls whose run after the commit has failed", async () => {
    const old = openOld();
    const { outbox } = openNew();
    await outbox.migrate();
    const failed = { attempts: 2, error: "Error: down" };
    await saveOld(old, [
      { ...sending(1), failure: { ...failed, state: "pending" } },
      { ...sending(2), failure: { ...failed, state: "dead" } },
    ]);
    const attempts = new Map<string, number>();
    work = async (by, call) => void attempts.set(`${by} ${call}`, currentCall()!.attempt);
    await outbox.relay();
    expect([...attempts]).toEqual([["new send1", 3]]);
    const [dead, ...others] = (await rows()) as { id: string }[];
    expect(others).toEqual([]);
    expect(await outbox.calls.get(dead!.id)).toMatchObject({ state: "dead", attempts: 2, lastError: "Error: down" });
    await outbox.calls.retry([dead!.id]);
    await outbox.relay();
    expect([...attempts.keys()]).toEqual(["new send1", "new send2"]);
    expect(await rows()).toEqual([]);
  });

  it("has both libraries wait for each other's savers of one key", async () => {
    const { outbox, publish } = openNew();
    await outbox.migrate();
    await outbox.close();
    const old = openOld();
    const ask = async <Row extends object>(sql: string) => {
      const answer: unknown = await knex.raw(sql);
      return engine.dialect === "pg" ? (answer as { rows: Row[] }).rows : (answer as [Row[]])[0];
    };
    const family = engine.dialect === "pg" ? "postgres" : "mysql";
    const isWaiting = async () => (await sessionsAwaitingLocks(family, ask)).length === 1;
    for (const [n, saveFirst, saveSecond] of [
      [
        1,
        (trx: Knex.Transaction) => old.save(trx, publishing("a", 1)),
        () => knex.transaction((trx) => publish.in(trx)("a", 2)),
      ],
      [3, (trx: Knex.Transaction) => publish.in(trx)("a", 3), () => saveOld(old, [publishing("a", 4)])],
    ] as const) {
      const saved = deferred();
      const mayCommit = gate();
      const first = oldKnex.transaction(async (trx) => {
        await saveFirst(trx);
        saved.resolve();
        await mayCommit.promise;
      });
      await saved.promise;
      const second = saveSecond();
      await until(`the saver of a${n + 1} waits for that of a${n}`, isWaiting);
      mayCommit.resolve();
      await Promise.all([first, second]);
    }
    expect((await rows()).map(({ payload }) => (JSON.parse(payload as string) as { json: unknown[] }).json[1])).toEqual(
      [1, 2, 3, 4],
    );
  });

  it("migrates although a running library locks its tables the other way round", async () => {
    const old = openOld();
    await saveOld(old, [publishing("a", 1)]);
    await old.relay();
    const locked = deferred();
    const goesOn = gate();
    // As a settle does: first the lease, then the calls.
    const settling = oldKnex.transaction(async (trx) => {
      await trx.raw(`select 1 from ${prefix}streams for ${engine.dialect === "pg" ? "share" : "update"}`);
      locked.resolve();
      await goesOn.promise;
      await trx(`${prefix}calls`).delete();
    });
    await locked.promise;
    const { outbox, send } = openNew();
    const migrating = outbox.migrate();
    const waiting =
      engine.dialect === "pg"
        ? "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        : "select 1 from information_schema.processlist where db = database() and state like '%metadata lock%'";
    await until("the migration waits", async () => {
      const answer = (await knex.raw(waiting)) as { rows: unknown[] } & unknown[][];
      return (engine.dialect === "pg" ? answer.rows : answer[0]!).length > 0;
    });
    goesOn.resolve();
    await Promise.allSettled([settling]);
    await migrating;
    await outbox.transaction(() => send(1));
    await until("a new call ran", () => ran.includes("new send1"));
  });

  it("loses nothing and keeps every order while both save and relay, and the tables are migrated in the middle", async () => {
    const [keys, perKey] = [["a", "b", "c", "d", "e", "f"], 30];
    const runs: Run[] = [];
    const sent: string[] = [];
    const by = { old: 0, new: 0 };
    let count = 0;
    work = async (library, call) => {
      by[library] += 1;
      const startedAt = performance.now();
      const isSend = call.startsWith("send");
      // Not in step with the keys, which are six.
      const succeeded = (count += 1) % 7 !== 0;
      await new Promise((resolve) => setImmediate(resolve));
      if (!isSend) {
        const [key, place] = [call[0]!, Number(call.slice(1))];
        runs.push({ key, place, startedAt, endedAt: performance.now(), succeeded });
      } else if (succeeded) sent.push(call);
      if (!succeeded) throw new Error("one in seven");
    };
    const olds = [openOld(), openOld()];
    const { outbox, publish, send } = openNew();
    const waitsFor: unknown[] = [];
    outbox.startRelayer({ onError: (error) => void waitsFor.push(error) });
    let isOver = false;
    const relaying = olds.map(async (old) => {
      while (!isOver) if ((await old.relay()) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    });
    let isMigrated = false;
    const oneThird = gate();
    const saving = keys.map(async (key, k) => {
      for (let n = 1; n <= perKey; n++) {
        if (n > perKey / 3) oneThird.resolve();
        if (isMigrated && n % 2 === 0) {
          await outbox.transaction(async () => {
            await publish(key, n);
            await send(k * perKey + n);
          });
        } else await saveOld(olds[k % 2]!, [publishing(key, n), sending(k * perKey + n)]);
        // The second half is of both.
        if (n === perKey / 2) await until("the tables are migrated", () => isMigrated, 60_000);
      }
    });
    await oneThird.promise;
    await openNew().outbox.migrate();
    isMigrated = true;
    await Promise.all(saving);
    await until("every call has run", async () => (await rows()).length === 0, 90_000);
    isOver = true;
    await Promise.all(relaying);
    const committed = new Map(keys.map((key) => [key, perKey]));
    expect(checkHistory(runs, committed)).toEqual(NO_FAULTS);
    expect(new Set(sent).size).toBe(keys.length * perKey);
    // What each of the old ones was running while the tables were migrated could not be settled.
    expect(sent.length - keys.length * perKey).toBeLessThanOrEqual(olds.length);
    expect(waitsFor.every((error) => error instanceof NotMigratedError)).toBe(true);
    expect(by.old).toBeGreaterThan(0);
    expect(by.new).toBeGreaterThan(0);
    // Either may have met none of those calls since: with one that nobody else takes, it is refused for certain.
    await outbox.close();
    await saveOld(olds[0]!, [sending(keys.length * perKey)]);
    const stored = await rows();
    for (const old of olds) {
      const before = old.refused;
      expect(await old.relay()).toBe(0);
      expect(old.refused).toBe(before + 1);
    }
    expect(await rows()).toEqual(stored);
  }, 180_000);
});
