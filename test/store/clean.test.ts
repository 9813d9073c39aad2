import { expect, test } from "vitest";
import { deleteSent } from "../../src/store/clean-calls.js";
import type { NewCall } from "../../src/store/insert-calls.js";
import { describeEachEngine } from "../support/databases.js";
import { aCall, databaseIn, inLine, insert, useStore } from "./support.js";

const DAY_MS = 24 * 60 * 60 * 1000;

describeEachEngine("cleaning sent calls", (engine) => {
  const under = useStore(engine);
  /** Stores calls and marks them as sent so many milliseconds ago, each a millisecond later than the one before. */
  const sent = async (count: number, agoMs: number): Promise<NewCall[]> => {
    const calls = await insert(
      under,
      Array.from({ length: count }, () => aCall()),
    );
    const claimed = await under.store.claimById(calls.map(({ id }) => id));
    await under.store.settleCalls(claimed.map(({ lease }) => ({ lease, settled: { state: "sent", attempts: 1 } })));
    for (const [n, { id }] of calls.entries()) await settledAgo(id, agoMs - n);
    return calls;
  };
  const settledAgo = (id: string, agoMs: number) =>
    under.select(`update ${under.tables.calls} set settled_at = ${under.dialect.after("-1 * ?")} where id = ?`, [
      agoMs,
      id,
    ]);
  const left = async () => (await under.rows()).map(({ id }) => id);
  const ids = (calls: readonly NewCall[]) => calls.map(({ id }) => id);

  test("deletes what is older, the oldest first, a batch at a time", async () => {
    const young = await sent(2, DAY_MS);
    const old = await sent(5, 3 * DAY_MS);
    expect(await under.store.countSent(2 * DAY_MS)).toBe(5);
    expect(await under.store.deleteSent(2 * DAY_MS, 0)).toBe(0);
    expect(await under.store.deleteSent(2 * DAY_MS, 2)).toBe(2);
    expect(await left()).toEqual([...ids(young), ...ids(old.slice(2))]);
    expect(await under.store.deleteSent(2 * DAY_MS, 2)).toBe(2);
    expect(await under.store.deleteSent(2 * DAY_MS, 2)).toBe(1);
    expect(await under.store.deleteSent(2 * DAY_MS, 2)).toBe(0);
    expect(await left()).toEqual(ids(young));
    expect(await under.store.countSent(2 * DAY_MS)).toBe(0);
    expect(await under.store.countSent(0)).toBe(2);
    expect(await under.store.deleteSent(0, 10)).toBe(2);
  });

  test("never deletes a call that is pending, running, failed, held or dead, however old", async () => {
    const calls = [aCall(), aCall(), aCall(), aCall({ delayMs: DAY_MS }), inLine("a"), inLine("b")];
    await insert(under, calls);
    const [dead, failed] = await under.store.claimById(ids(calls.slice(0, 2)));
    await under.store.settleCalls([
      { lease: dead!.lease, settled: { state: "dead", attempts: 1, error: "no" } },
      { lease: failed!.lease, settled: { state: "pending", attempts: 1, delayMs: 0, error: "no" } },
    ]);
    await under.store.claimById(ids(calls.slice(2, 3)));
    const lease = await under.store.acquireStream("line");
    const head = { seq: (await under.rows()).at(-1)!.seq, attempts: 1 };
    await under.store.settleStream(lease!, [{ kind: "hold", state: "blocked", due: { inMs: 0 }, head }]);
    for (const { id } of calls) await settledAgo(id, 9 * DAY_MS);
    expect(await under.store.countSent(0)).toBe(0);
    expect(await under.store.deleteSent(0, 100)).toBe(0);
    expect(await left()).toEqual(ids(calls));
  });

  test("deletes sent keep-order calls", async () => {
    await insert(under, [inLine("a"), inLine("a")]);
    const [first, second] = await under.rows();
    const lease = await under.store.acquireStream("line");
    await under.store.settleStream(lease!, [{ kind: "mark-sent", seq: first!.seq }]);
    await settledAgo(first!.id, 2 * DAY_MS);
    expect(await under.store.deleteSent(DAY_MS, 10)).toBe(1);
    expect(await left()).toEqual([second!.id]);
  });

  test.skipIf(!engine.name.startsWith("postgres"))("passes over a row that somebody else has locked", async () => {
    const calls = await sent(3, 2 * DAY_MS);
    const trx = await under.begin();
    await trx("carteiro_calls").where({ id: calls[0]!.id }).forUpdate();
    expect(await under.store.deleteSent(DAY_MS, 10)).toBe(2);
    await trx.commit();
    expect(await left()).toEqual(ids(calls.slice(0, 1)));
  });

  test.skipIf(engine.name === "pglite")("by two at once deletes each call once", async () => {
    await sent(60, 2 * DAY_MS);
    const stores = [1, 2, 3].map(() => under.openAnother({ knex: under.poolWith() }));
    const deleted = await Promise.all(
      stores.map(async (store) => {
        let all = 0;
        while ((await under.store.countSent(DAY_MS)) > 0) all += await store.deleteSent(DAY_MS, 7);
        return all;
      }),
    );
    expect(deleted.reduce((sum, count) => sum + count)).toBe(60);
  });

  test.skipIf(engine.name === "pglite")("keeps no insert and no claim waiting", async () => {
    const { store } = under;
    await sent(10, 2 * DAY_MS);
    const trx = await under.begin();
    expect(await deleteSent(databaseIn(under, trx), DAY_MS, 5)).toBe(5);
    const calls = await insert(under, [aCall(), inLine("a")]);
    expect(await store.claimDue("default", 10)).toMatchObject([{ id: calls[0]!.id }]);
    await trx.commit();
  });
});
