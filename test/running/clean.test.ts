import { expect, it } from "vitest";
import { clean } from "../../src/clean.js";
import { Events } from "../../src/events.js";
import { InvalidOptionError, type Outbox } from "../../src/index.js";
import { resolveCleanOptions } from "../../src/member-options.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";

const DAY_MS = 24 * 3_600_000;

it("deletes a batch at a time, until one is not full", async () => {
  const asked: [number, number][] = [];
  let rows = 25;
  const store = {
    countSent: () => Promise.resolve(rows),
    deleteSent: async (olderThanMs: number, limit: number) => {
      asked.push([olderThanMs, limit]);
      const deleted = Math.min(rows, limit);
      rows -= deleted;
      return deleted;
    },
  };
  const logger = { debug() {}, info() {}, warn() {}, error() {} };
  const parts = { store, events: new Events(logger), logger };
  expect(await clean(parts, resolveCleanOptions({ batchSize: 10 }, 5000))).toEqual({ deleted: 25 });
  expect(asked).toEqual([
    [5000, 10],
    [5000, 10],
    [5000, 10],
  ]);
  asked.length = 0;
  expect(await clean(parts, resolveCleanOptions({ olderThan: "1s" }, 5000))).toEqual({ deleted: 0 });
  expect(asked).toEqual([[1000, 1000]]);
});

describeEachEngine("the cleaner", (engine) => {
  const outboxes = useOutboxes(engine);

  /** Calls that were sent, one of each age. @returns their ids, in the order of the ages */
  async function send(outbox: Outbox, agesMs: readonly number[]): Promise<string[]> {
    const note = outbox.saveToOutbox(async (_n: number) => undefined, { name: "note", deleteAfterSend: false });
    const ids = await outbox.transaction(() => Promise.all(agesMs.map(async (_, n) => (await note(n)).id)));
    await outbox.idle();
    for (const [index, ageMs] of agesMs.entries()) {
      const settled_at = outboxes.knex.raw(outboxes.dialect.after(`-${ageMs}`));
      await outboxes.table("calls").where({ id: ids[index] }).update({ settled_at });
    }
    return ids;
  }

  const left = async () => (await outboxes.rows()).map(({ id }) => id);

  it("deletes sent calls that are older than the retention, and no younger ones", async () => {
    const outbox = outboxes.open({ retention: "7d" });
    const cleaned: unknown[] = [];
    outbox.on("cleaned", (event) => void cleaned.push(event));
    const ids = await send(outbox, [0, 7 * DAY_MS - 60_000, 7 * DAY_MS + 60_000, 30 * DAY_MS]);
    expect(await outbox.clean()).toEqual({ deleted: 2 });
    expect(await left()).toEqual(ids.slice(0, 2));
    expect(await outbox.clean({ olderThan: "1h" })).toEqual({ deleted: 1 });
    expect(await left()).toEqual(ids.slice(0, 1));
    expect(await outbox.clean({ olderThan: 0 })).toEqual({ deleted: 1 });
    expect(await left()).toEqual([]);
    expect(cleaned).toEqual([{ deleted: 2 }, { deleted: 1 }, { deleted: 1 }]);
  });

  it("never deletes a call that is pending, running, held or dead, however old", async () => {
    const outbox = outboxes.open({ retry: () => false });
    const acts = outbox.saveToOutbox(
      async () => {
        throw new Error("down");
      },
      { name: "acts" },
    );
    const inOrder = outbox.saveToOutbox(acts.original, { name: "inOrder", strategy: "keep-order" });
    await outbox.transaction(() => acts());
    await outbox.idle();
    await outbox.transaction(async () => {
      await acts.with({ delay: "1h" })();
      await inOrder();
      await inOrder();
    });
    await outbox.relay();
    const [leased] = await send(outbox, [0]);
    await outboxes
      .table("calls")
      .where({ id: leased })
      .update({ state: "pending", lease_id: "0190a2b4-0000-7000-8000-000000000000" });
    const longAgo = outboxes.knex.raw(outboxes.dialect.after(`-${365 * DAY_MS}`));
    await outboxes.table("calls").update({ settled_at: longAgo, created_at: longAgo });
    const before = await outboxes.rows();
    expect(before.map(({ state }) => state).sort()).toEqual(["dead", "held", "held", "pending", "pending"]);
    expect(await outbox.clean({ olderThan: 0, dryRun: true })).toEqual({ deleted: 0 });
    expect(await outbox.clean({ olderThan: 0 })).toEqual({ deleted: 0 });
    expect(await outboxes.rows()).toEqual(before);
  });

  it("counts instead on a dry run, and tells no listener", async () => {
    const outbox = outboxes.open();
    const cleaned: unknown[] = [];
    outbox.on("cleaned", (event) => void cleaned.push(event));
    const ids = await send(outbox, [0, 8 * DAY_MS, 9 * DAY_MS]);
    expect(await outbox.clean({ dryRun: true })).toEqual({ deleted: 2 });
    expect(await outbox.clean({ dryRun: true, olderThan: "8.5d" })).toEqual({ deleted: 1 });
    expect(await left()).toEqual(ids);
    expect(cleaned).toEqual([]);
  });

  it("deletes in batches, and all of them", async () => {
    const outbox = outboxes.open();
    await send(
      outbox,
      Array.from({ length: 25 }, () => 8 * DAY_MS),
    );
    expect(await outbox.clean({ batchSize: 10 })).toEqual({ deleted: 25 });
    expect(await left()).toEqual([]);
  });

  it("shares the work where several clean at once", async () => {
    const [outbox, rival] = [outboxes.open(), outboxes.openRival()];
    const young = await send(outbox, [...Array.from({ length: 60 }, () => 8 * DAY_MS), 0]);
    const results = await Promise.all([
      outbox.clean({ batchSize: 7 }),
      rival.clean({ batchSize: 7 }),
      outbox.clean({ batchSize: 11 }),
      rival.clean({ batchSize: 3 }),
    ]);
    expect(results.reduce((sum, { deleted }) => sum + deleted, 0)).toBe(60);
    expect(await left()).toEqual(young.slice(-1));
  });

  it.each([{ batchSize: 0 }, { batchSize: 1.5 }, { olderThan: "soon" }, { olderThan: -1 }, { older: "7d" }])(
    "refuses %o",
    async (options) => {
      await expect(outboxes.open().clean(options)).rejects.toThrow(
        expect.objectContaining({ constructor: InvalidOptionError, option: Object.keys(options)[0] }),
      );
    },
  );
});
