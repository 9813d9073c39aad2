import { randomUUID } from "node:crypto";
import { beforeEach, expect, it } from "vitest";
import { currentCall, type Outbox } from "../../src/index.js";
import { checkHistory, NO_FAULTS, type Run } from "../guarantees/history.js";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { until } from "../support/waiting.js";

const KEYS = ["a", "b", "c", "d", "e"];
const PER_KEY = 24;

// Two releases of one application, in a rolling deploy: each has functions that the other does not know.
describeEachServer("two versions of an application on one table", (engine) => {
  const outboxes = useOutboxes(engine);
  let runs: (Run & { by: string; savedBy: string; attempt: number })[];
  beforeEach(() => (runs = []));

  const known = {
    /** `retire` is gone in the new release. */
    old: { names: ["publish", "retire"], version: 1 },
    /** `announce` is new, `note` has another name by now, and all have a newer shape. */
    new: { names: ["publish", "announce"], version: 2 },
  };
  type Release = keyof typeof known;

  function wrap(outbox: Outbox, by: Release, strategy: "keep-order" | "publish-on-commit") {
    const { names, version } = known[by];
    const wrapOne = (name: string, aliases: string[] = []) =>
      outbox.saveToOutbox(
        async (key: string, place: number, savedBy: string) => {
          const startedAt = performance.now();
          await new Promise((resolve) => setImmediate(resolve));
          const { attempt } = currentCall()!;
          const outcome = { startedAt, endedAt: performance.now(), succeeded: true };
          runs.push({ by: `${by} ${name}`, savedBy, key, place, attempt, ...outcome });
        },
        {
          name,
          strategy,
          stream: "orders",
          ...(strategy === "keep-order" ? { orderingKey: (key: string) => key } : {}),
          aliases,
          version,
          ...(version > 1 ? { upcast: (args) => args as [string, number, string] } : {}),
        },
      );
    const functions = names.map((name) => wrapOne(name));
    return [...functions, by === "old" ? wrapOne("note") : wrapOne("notice", ["note"])];
  }

  /** An application's functions, to save with: nothing runs in it. */
  async function openSaver(by: Release, strategy: "keep-order" | "publish-on-commit") {
    const outbox = outboxes.open();
    const functions = wrap(outbox, by, strategy);
    await outbox.close();
    return functions;
  }

  function openRelays(strategy: "keep-order" | "publish-on-commit") {
    const relays = { old: outboxes.open({ pollInterval: 20 }), new: outboxes.openRival({ pollInterval: 20 }) };
    const unroutable: Record<Release, Set<string>> = { old: new Set(), new: new Set() };
    const failed: unknown[] = [];
    for (const by of ["old", "new"] as const) {
      wrap(relays[by], by, strategy);
      relays[by].on("unroutable", (event) => void unroutable[by].add(event.function));
      relays[by].on("failed", ({ error }) => void failed.push(error));
    }
    return { ...relays, unroutable, failed };
  }

  /** What was a deadlock's victim beside the relays is left for the next look. */
  const makeDue = (rows: ReturnType<typeof outboxes.table>) =>
    rows.update({ due_at: outboxes.knex.raw(outboxes.dialect.now) }).catch((error: unknown) => {
      if (!outboxes.dialect.isContention(error)) throw error;
    });

  async function saveMany(strategy: "keep-order" | "publish-on-commit") {
    const savers = [
      ...(await openSaver("old", strategy)).map((save) => ({ save, by: "old" })),
      ...(await openSaver("new", strategy)).map((save) => ({ save, by: "new" })),
    ];
    for (let place = 1; place <= PER_KEY; place++) {
      await outboxes.knex.transaction(async (trx) => {
        for (const [k, key] of KEYS.entries()) {
          const { save, by } = savers[(place + k) % savers.length]!;
          await save.in(trx)(key, place, by);
        }
      });
    }
  }

  const expectEachItsOwn = (unroutable: Record<Release, Set<string>>) => {
    const ranBy = (by: Release) =>
      [...new Set(runs.filter((run) => run.by.startsWith(by)).map((run) => run.by.split(" ")[1]))].sort();
    expect(ranBy("old").filter((name) => !["note", "publish", "retire"].includes(name!))).toEqual([]);
    expect(ranBy("new").filter((name) => !["announce", "notice", "publish"].includes(name!))).toEqual([]);
    expect(ranBy("old")).toContain("retire");
    expect(ranBy("new")).toEqual(expect.arrayContaining(["announce", "notice"]));
    expect(runs.filter(({ by, savedBy }) => by.startsWith("old") && savedBy !== "old")).toEqual([]);
    expect([...unroutable.old].filter((name) => !["announce", "notice", "publish"].includes(name))).toEqual([]);
    expect([...unroutable.new].filter((name) => name !== "retire")).toEqual([]);
    expect(unroutable.old.size + unroutable.new.size).toBeGreaterThan(0);
    expect(runs.every(({ attempt }) => attempt === 1)).toBe(true);
  };

  it("hand one keep-order stream to and fro, each its own functions, and every key keeps its order", async () => {
    await saveMany("keep-order");
    const { unroutable, failed, ...relays } = openRelays("keep-order");
    const relayers = [relays.old.startRelayer(), relays.new.startRelayer()];
    await until("all have run", () => runs.length === KEYS.length * PER_KEY, 90_000);
    await Promise.all(relayers.map((relayer) => relayer.stop()));
    const committed = new Map(KEYS.map((key) => [key, PER_KEY]));
    expect(checkHistory(runs, committed)).toEqual(NO_FAULTS);
    expect(failed).toEqual([]);
    expectEachItsOwn(unroutable);
    expect(await outboxes.rows()).toEqual([]);
  }, 120_000);

  it("share out publish-on-commit calls, each its own functions: none counted, none dropped", async () => {
    await saveMany("publish-on-commit");
    const { unroutable, failed, ...relays } = openRelays("publish-on-commit");
    const relayers = [relays.old.startRelayer(), relays.new.startRelayer()];
    await until(
      "all have run",
      async () => {
        // What a process could not route it leaves alone for seconds; here nobody waits so long.
        await makeDue(outboxes.table("calls").where({ state: "pending", lease_id: null }));
        return runs.length === KEYS.length * PER_KEY;
      },
      90_000,
    );
    await Promise.all(relayers.map((relayer) => relayer.stop()));
    expect(new Set(runs.map(({ key, place }) => `${key}${place}`)).size).toBe(KEYS.length * PER_KEY);
    expect(failed).toEqual([]);
    expectEachItsOwn(unroutable);
    expect(await outboxes.rows()).toEqual([]);
  }, 120_000);

  it("take turns: the one that cannot route a head leaves the stream for an interval, in which the other has it", async () => {
    const [old, newer] = [outboxes.open({ pollInterval: 3000 }), outboxes.openRival({ pollInterval: 20 })];
    const [publishOld] = wrap(old, "old", "keep-order");
    wrap(newer, "new", "keep-order");
    let met = 0;
    old.on("unroutable", () => void (met += 1));
    const [publish, announce] = await openSaver("new", "keep-order");
    await outboxes.knex.transaction(async (trx) => {
      await announce!.in(trx)("a", 1, "new");
      await publish!.in(trx)("a", 2, "new");
    });
    const relayers = [old.startRelayer()];
    await until("the old release has met it", () => met === 1);
    await until("it has left the stream", async () => (await outboxes.table("streams"))[0]!["lease_token"] === null);
    // Its head is looked at again after an interval of the one that met it.
    await outboxes.table("keys").update({ due_at: outboxes.knex.raw(outboxes.dialect.now) });
    // A commit wakes the old one, which leaves the stream alone all the same: it would have it back within these statements.
    await old.transaction(() => publishOld!("b", 1, "old"));
    for (let n = 0; n < 20; n++) await outboxes.rows();
    relayers.push(newer.startRelayer());
    await until("the new release has run all", () => runs.length === 3);
    expect(met).toBe(1);
    await Promise.all(relayers.map((relayer) => relayer.stop()));
    expect(runs.map(({ by, key }) => `${by} ${key}`).sort()).toEqual([
      "new announce a",
      "new publish a",
      "new publish b",
    ]);
  });

  it("leave what neither knows where it is, as often as they look", async () => {
    const stranger = outboxes.open();
    const unknown = ["keep-order", "publish-on-commit"].map((strategy) =>
      stranger.saveToOutbox(() => undefined, {
        name: `of ${strategy}`,
        strategy: strategy as "keep-order",
        stream: "orders",
      }),
    );
    await stranger.close();
    await outboxes.knex.transaction(async (trx) => {
      for (const save of unknown) await save.with({ trx, headers: { tenant: randomUUID() } })();
    });
    const rowsById = () =>
      outboxes.table("calls").select("id", "payload", "headers", "attempts", "last_error").orderBy("id");
    const before = await rowsById();
    const met: string[] = [];
    for (const relay of [outboxes.open({ pollInterval: 10 }), outboxes.openRival({ pollInterval: 10 })]) {
      relay.on("unroutable", (event) => void met.push(event.function));
      relay.startRelayer();
    }
    await until("each has been met again and again", async () => {
      for (const table of ["calls", "keys"] as const) await makeDue(outboxes.table(table));
      const times = (name: string) => met.filter((one) => one === name).length;
      return times("of keep-order") >= 5 && times("of publish-on-commit") >= 5;
    });
    expect(new Set(met)).toEqual(new Set(["of keep-order", "of publish-on-commit"]));
    expect(await rowsById()).toEqual(before);
  });
});
