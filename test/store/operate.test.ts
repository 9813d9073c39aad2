import { expect, test } from "vitest";
import type { StreamLease } from "../../src/store/serve-stream.js";
import { describeEachEngine } from "../support/databases.js";
import { aCall, inLine, insert, useStore } from "./support.js";

const KEY = Buffer.from("a");
const HOUR_MS = 3_600_000;

describeEachEngine("what a person changes", (engine) => {
  const under = useStore(engine);
  const acquire = async () => (await under.store.acquireStream("line")) as StreamLease;

  test("a paused stream is neither found, nor served, nor claimed from; its calls are saved", async () => {
    const calls = await insert(under, [inLine("a"), aCall({ stream: "line" }), aCall({ stream: "other" })]);
    await under.store.pauseStream("line", "reason");
    expect(await under.store.dueStreams()).toEqual([{ stream: "other", strategy: "publish-on-commit" }]);
    expect(await under.store.acquireStream("line")).toBeUndefined();
    expect(await under.store.claimDue("line", 10)).toEqual([]);
    const claimed = await under.store.claimById(calls.map(({ id }) => id));
    expect(claimed.map(({ stream }) => stream)).toEqual(["other"]);
    await insert(under, [inLine("b")]);
    expect(await under.store.resumeStream("line")).toBe(true);
    expect(await under.store.resumeStream("line")).toBe(false);
    expect(await under.store.claimDue("line", 10)).toHaveLength(1);
    expect(await acquire()).toMatchObject({ stream: "line" });
  });

  test("a parked key stays parked whatever its stream's holder writes down", async () => {
    await insert(under, [inLine("a"), inLine("a")]);
    const lease = await acquire();
    const [head, next] = await under.rows();
    const held = { seq: head!.seq, attempts: 1, error: "down" };
    await under.store.settleStream(lease, [{ kind: "hold", state: "blocked", due: { inMs: 0 }, head: held }]);
    await under.store.parkKey("line", KEY);
    const parked = async () => (await under.keys()).map(({ state, dueMs }) => [state, dueMs > Date.now() + HOUR_MS]);
    expect(await parked()).toEqual([["parked", true]]);
    await under.store.settleStream(lease, [{ kind: "hold", state: "blocked", due: { inMs: 0 }, head: held }]);
    expect(await parked()).toEqual([["parked", true]]);
    await under.store.settleStream(lease, [
      { kind: "delete", seq: head!.seq },
      { kind: "release", key: KEY },
    ]);
    expect(await parked()).toEqual([["parked", true]]);
    expect(await under.store.fetchDueKeys(lease, 10)).toEqual([]);
    expect((await under.store.fetchLine(lease, 10)).aside.map(({ seq }) => seq)).toEqual([next!.seq]);
    expect(await under.store.resumeKey("line", KEY)).toBe(true);
    expect(await under.store.resumeKey("line", KEY)).toBe(false);
    expect(await under.store.fetchDueKeys(lease, 10)).toHaveLength(1);
  });

  test("a hold of what did not run brings nothing back that a person took away; one of what ran does", async () => {
    await insert(under, [inLine("a")]);
    const lease = await acquire();
    const [row] = await under.rows();
    await under.store.hideCalls("line", [row!.seq]);
    const head = { seq: row!.seq, attempts: 0 };
    await under.store.settleStream(lease, [{ kind: "hold", state: "waiting", due: { inMs: 0 }, head }]);
    expect((await under.rows())[0]!.state).toBe("dead");
    expect(await under.keys()).toEqual([]);
    const ran = { ...head, attempts: 1, error: "down" };
    await under.store.settleStream(lease, [{ kind: "hold", state: "blocked", due: { inMs: 0 }, head: ran }]);
    expect((await under.rows())[0]!.state).toBe("held");
    expect((await under.keys())[0]!.state).toBe("blocked");
  });

  test("a change is new to the holder until it has confirmed it, and confirmed where nobody serves the stream", async () => {
    expect(await under.store.readConfirmation("line", await under.store.parkKey("line", KEY))).toEqual([]);
    const lease = await acquire();
    expect(await under.store.readChanges(lease)).toMatchObject({ isNew: false, isPaused: false });
    const epoch = await under.store.pauseStream("line", undefined);
    expect(await under.store.readConfirmation("line", epoch)).toBeUndefined();
    const changes = await under.store.readChanges(lease);
    expect(changes).toMatchObject({ isNew: true, isPaused: true });
    await under.store.confirmChanges(lease, changes!.epoch, ["7", "8"]);
    expect((await under.store.readConfirmation("line", epoch))!.map(String)).toEqual(["7", "8"]);
    expect(await under.store.readChanges(lease)).toMatchObject({ isNew: false });
    const later = await under.store.parkKey("line", Buffer.from("b"));
    expect(await under.store.readConfirmation("line", later)).toBeUndefined();
    await under.expireStream("line");
    // What an older confirmation named is not running for this one.
    expect(await under.store.readConfirmation("line", later)).toEqual([]);
    expect(await under.store.readChanges({ ...lease, token: crypto.randomUUID() })).toBeUndefined();
  });

  test("retries what is dead, and what failed and waits, with a new schedule; nothing else", async () => {
    const saved = await insert(under, [
      aCall(),
      aCall(),
      aCall({ delayMs: HOUR_MS }),
      aCall(),
      inLine("a"),
      inLine("a"),
    ]);
    const claimed = await under.store.claimById(saved.slice(0, 2).map(({ id }) => id));
    await under.store.settleCalls([
      { lease: claimed[0]!.lease, settled: { state: "dead", attempts: 3, error: "down" } },
      { lease: claimed[1]!.lease, settled: { state: "pending", attempts: 2, delayMs: HOUR_MS, error: "down" } },
    ]);
    const running = await under.store.claimById([saved[3]!.id]);
    expect(running).toHaveLength(1);
    const lease = await acquire();
    const rows = await under.rows();
    const head = { seq: rows[4]!.seq, attempts: 4, error: "down" };
    await under.store.settleStream(lease, [{ kind: "hold", state: "blocked", due: { inMs: HOUR_MS }, head }]);
    await under.store.settleStream(lease, [{ kind: "set-aside", seqs: [rows[5]!.seq] }]);

    const { calls: all } = await under.store.selectCalls("retry", { ids: saved.map(({ id }) => id) }, undefined, 10);
    const expected = [rows.find(({ id }) => id === claimed[0]!.id)!, rows.find(({ id }) => id === claimed[1]!.id)!];
    const seqs = [...expected, rows[4]!].map(({ seq }) => String(seq)).sort();
    expect(all.map(({ seq }) => String(seq)).sort()).toEqual(seqs);
    expect(await under.store.countSelected("retry", { ids: saved.map(({ id }) => id) })).toBe(3);
    // Also where it is told of more: what it was read as may be another thing by now.
    expect(await under.store.retryCalls(rows.map(({ seq }) => seq))).toBe(3);
    const after = new Map((await under.rows()).map((row) => [String(row.seq), row]));
    for (const seq of seqs) {
      const { state, attempts, dueMs } = after.get(seq)!;
      expect([attempts, dueMs <= Date.now() + 5000]).toEqual([0, true]);
      expect(state).toBe(seq === String(rows[4]!.seq) ? "held" : "pending");
    }
    expect(after.get(String(rows[5]!.seq))).toMatchObject({ state: "held", attempts: 0 });
    expect((await under.store.fetchDueKeys(lease, 10))[0]!.head).toMatchObject({ id: rows[4]!.id, isDue: true });
    expect(await under.store.renewCalls(running.map((call) => call.lease))).toHaveLength(1);
  });

  test("discards everything but what runs, and what a holder may have read ahead", async () => {
    const saved = await insert(under, [aCall(), aCall(), aCall({ delayMs: HOUR_MS }), inLine("a")]);
    const [running] = await under.store.claimById([saved[0]!.id]);
    const seqs = (await under.rows()).map(({ seq }) => seq);
    expect(await under.store.discardCalls(seqs)).toBe(2);
    const left = (await under.rows()).map(({ id }) => id);
    expect(left.sort()).toEqual([saved[0]!.id, saved[3]!.id].sort());
    // A lease that has ended is nobody's.
    await under.expireCalls([running!.seq]);
    expect(await under.store.discardCalls(seqs)).toBe(1);
    await under.store.hideCalls("line", seqs);
    expect(await under.store.restoreHidden("line", [])).toBe(0);
    expect(await under.store.discardCalls(seqs)).toBe(1);
  });

  test("takes the first call of a key as its head, also one that was retried behind those set aside", async () => {
    const [first, second] = await insert(under, [inLine("a"), inLine("a")]);
    const lease = await acquire();
    const rows = await under.rows();
    await under.store.settleStream(lease, [{ kind: "dead", seq: rows[0]!.seq, attempts: 1, error: "down" }]);
    const head = { seq: rows[1]!.seq, attempts: 1, error: "down" };
    await under.store.settleStream(lease, [{ kind: "hold", state: "blocked", due: { inMs: HOUR_MS }, head }]);
    expect(await under.store.retryCalls([rows[0]!.seq])).toBe(1);
    expect((await under.store.hideHead("line", KEY)).head).toMatchObject({ id: first!.id });
    expect((await under.store.hideHead("line", KEY)).head).toMatchObject({ id: second!.id });
    expect((await under.store.hideHead("line", KEY)).head).toBeUndefined();
    expect(await under.store.giveUpHidden(rows[1]!.seq)).toBe(true);
    expect(await under.store.giveUpHidden(rows[1]!.seq)).toBe(false);
    expect((await under.rows()).map(({ settledMs }) => settledMs !== null)).toEqual([false, true]);
  });

  test.each([
    ["no reason", undefined, "skipped by a person"],
    ["a reason", "cancelled — für immer", "skipped by a person: cancelled — für immer"],
    ["a reason of many lines", " cancelled,\r\n\n  for ever\n", "skipped by a person: cancelled, for ever"],
  ])(
    "why a call was hidden stands there from the beginning, and goes when it comes back: %s",
    async (_, reason, note) => {
      await insert(under, [inLine("a"), inLine("a")]);
      const lease = await acquire();
      const [row, next] = await under.rows();
      const error = "down\nfor good";
      const head = { seq: row!.seq, attempts: 1, error };
      await under.store.settleStream(lease, [{ kind: "hold", state: "blocked", due: { inMs: HOUR_MS }, head }]);
      const errors = async () => (await under.rows()).map(({ lastError }) => lastError);
      await under.store.hideHead("line", KEY, { reason });
      expect(await errors()).toEqual([`${note}\n${error}`, null]);
      expect(await under.store.readChanges(lease)).toMatchObject({ isNew: true });
      // Whoever discards what another one was about to skip brings it back for both.
      await under.store.hideCalls("line", [row!.seq, next!.seq]);
      expect(await errors()).toEqual([`${note}\n${error}`, "discarded by a person"]);
      expect(await under.store.restoreHidden("line", [row!.seq, next!.seq])).toBe(2);
      expect(await errors()).toEqual([error, null]);
      await under.store.hideHead("line", KEY, { reason, id: next!.id });
      expect(await errors()).toEqual([error, null]);
      await under.store.hideCalls("line", [row!.seq]);
      await under.store.hideHead("line", KEY, { reason });
      expect(await errors()).toEqual([`discarded by a person\n${error}`, note]);
      expect(await under.store.restoreHidden("line", [row!.seq, next!.seq])).toBe(2);
      expect(await errors()).toEqual([error, null]);
    },
  );

  test("a lease that ended before its holder saw a change is lost for good; without a change it is renewed", async () => {
    const lease = await acquire();
    await under.expireStream("line");
    expect(await under.store.renewStream(lease)).toBe(true);
    await insert(under, [inLine("a")]);
    const [row] = await under.rows();
    const epoch = await under.store.hideCalls("line", [row!.seq]);
    expect(await under.store.readConfirmation("line", epoch)).toBeUndefined();
    await under.expireStream("line");
    expect(await under.store.readConfirmation("line", epoch)).toEqual([]);
    expect(await under.store.renewStream(lease)).toBe(false);
    const head = { seq: row!.seq, attempts: 1, error: "down" };
    expect(await under.store.settleStream(lease, [{ kind: "hold", state: "blocked", due: { inMs: 0 }, head }])).toBe(
      false,
    );
    expect((await under.rows())[0]!.state).toBe("dead");
    expect(await acquire()).toMatchObject({ isTakenOver: true });
  });

  test("suspicion outlives a release that leaves it, and a head that could not be routed", async () => {
    await insert(under, [inLine("a")]);
    await acquire();
    await under.expireStream("line");
    const taken = await acquire();
    expect(taken.isTakenOver).toBe(true);
    await under.store.releaseStream(taken, true);
    const again = await acquire();
    expect(again.isTakenOver).toBe(true);
    const [row] = await under.rows();
    for (let time = 1; time <= 2; time++) {
      const head = { seq: row!.seq, attempts: 0, isSuspect: true };
      await under.store.settleStream(again, [{ kind: "hold", state: "unroutable", due: { inMs: -1000 }, head }]);
      expect((await under.store.fetchDueKeys(again, 10))[0]!.head).toMatchObject({ suspectRuns: 1, attempts: 0 });
    }
    const unsuspected = { seq: row!.seq, attempts: 0 };
    await under.store.settleStream(again, [
      { kind: "hold", state: "unroutable", due: { inMs: -1000 }, head: unsuspected },
    ]);
    expect((await under.store.fetchDueKeys(again, 10))[0]!.head).toMatchObject({ suspectRuns: 1 });
    await under.store.releaseStream(again);
    expect(await acquire()).toMatchObject({ isTakenOver: false });
  });

  test("brings back only what is out of sight, not what has been given up meanwhile; others see that it was read ahead", async () => {
    const saved = await insert(under, [inLine("a"), inLine("b")]);
    const lease = await acquire();
    const [first, second] = await under.rows();
    const seqs = [first!.seq, second!.seq];
    await under.store.hideCalls("line", seqs);
    const { calls } = await under.store.selectCalls("discard", { ids: saved.map(({ id }) => id) }, undefined, 10);
    expect(calls.map(({ mayBeReadAhead }) => mayBeReadAhead)).toEqual([true, true]);
    await under.store.settleStream(lease, [{ kind: "dead", seq: first!.seq, attempts: 1, error: "exhausted" }]);
    expect(await under.store.restoreHidden("line", seqs)).toBe(1);
    expect((await under.rows()).map(({ state, lastError }) => [state, lastError])).toEqual([
      ["dead", "exhausted"],
      ["pending", null],
    ]);
  });
});
