import { expect, test } from "vitest";
import type { NewCall } from "../../src/store/insert-calls.js";
import type { KeyState, StreamLease, StreamSettlement } from "../../src/store/serve-stream.js";
import { describeEachEngine } from "../support/databases.js";
import { inLine, insert, type Row, useStore } from "./support.js";

const HOUR_MS = 60 * 60 * 1000;
const STATES: KeyState[] = ["waiting", "blocked", "unroutable", "busy"];

describeEachEngine("settling the calls of a stream", (engine) => {
  const under = useStore(engine);
  const acquire = async () => (await under.store.acquireStream("line")) as StreamLease;
  /** Stores calls, one per key given. @returns their rows */
  const stored = async (...keys: (string | Partial<NewCall>)[]): Promise<Row[]> => {
    const calls = await insert(
      under,
      keys.map((key) => (typeof key === "string" ? inLine(key) : inLine("a", key))),
    );
    const rows = await under.rows();
    return calls.map(({ id }) => rows.find((row) => row.id === id)!);
  };
  const settle = (lease: StreamLease, ...settlements: StreamSettlement[]) =>
    under.store.settleStream(lease, settlements);
  const seqs = (rows: readonly Row[]) => rows.map(({ seq }) => seq);

  test("deletes what ran, and nothing else", async () => {
    const lease = await acquire();
    const rows = await stored("a", "b", "a", "c");
    expect(await settle(lease, { kind: "delete", seq: rows[0]!.seq }, { kind: "delete", seq: rows[2]!.seq })).toBe(
      true,
    );
    expect(await under.rows()).toEqual([rows[1], rows[3]]);
    expect(await settle(lease, { kind: "delete", seq: rows[0]!.seq })).toBe(true);
    expect(await under.rows()).toHaveLength(2);
  });

  test("says whether the lease is held where there is nothing to settle", async () => {
    const lease = await acquire();
    expect(await settle(lease)).toBe(true);
    await under.store.releaseStream(lease);
    expect(await settle(lease)).toBe(false);
  });

  test("marks what ran as sent, counted once", async () => {
    const lease = await acquire();
    const [first, second] = (await stored("a", "a", "b")) as [Row, Row];
    const before = await under.store.readClock();
    const settlements: StreamSettlement[] = [first, second].map(({ seq }) => ({ kind: "mark-sent", seq }));
    expect(await settle(lease, ...settlements)).toBe(true);
    const after = await under.store.readClock();
    const rows = await under.rows();
    expect(rows).toMatchObject([
      { state: "sent", attempts: 1 },
      { state: "sent", attempts: 1 },
      { state: "pending", attempts: 0, settledMs: null },
    ]);
    expect(rows[0]!.settledMs).toBeGreaterThanOrEqual(before);
    expect(rows[0]!.settledMs).toBeLessThanOrEqual(after);
    // As after an answer that was lost on its way.
    expect(await settle(lease, ...settlements)).toBe(true);
    expect(await under.rows()).toEqual(rows);
  });

  test.each(STATES)("holds a head and its key, to be looked at after a while: %s", async (state) => {
    const lease = await acquire();
    const [head, behind] = (await stored("a", "a")) as [Row, Row];
    const before = await under.store.readClock();
    const held = { seq: head.seq, attempts: 3, error: "the broker is down 🙂 ' \\ ?" };
    expect(await settle(lease, { kind: "hold", state, due: { inMs: HOUR_MS }, head: held })).toBe(true);
    const after = await under.store.readClock();
    const [row, untouched] = (await under.rows()) as [Row, Row];
    expect(row).toMatchObject({ state: "held", attempts: 3, lastError: held.error, settledMs: null });
    expect(row.dueMs).toBeGreaterThanOrEqual(before + HOUR_MS);
    expect(row.dueMs).toBeLessThanOrEqual(after + HOUR_MS);
    expect(untouched).toEqual(behind);
    const keys = await under.keys();
    expect(keys).toMatchObject([{ stream: "line", orderingKey: Buffer.from("a"), state, dueMs: row.dueMs }]);
    expect(keys[0]!.sinceMs).toBeGreaterThanOrEqual(before);
    expect(keys[0]!.sinceMs).toBeLessThanOrEqual(after);
    expect(await under.store.fetchDueKeys(lease, 10)).toEqual([]);
  });

  test("holds a head until it is due", async () => {
    const lease = await acquire();
    const [head] = (await stored({ delayMs: HOUR_MS })) as [Row];
    const held = { seq: head.seq, attempts: 0 };
    await settle(lease, { kind: "hold", state: "waiting", due: "when-head-is-due", head: held });
    expect(await under.rows()).toMatchObject([{ state: "held", dueMs: head.dueMs, lastError: null }]);
    expect(await under.keys()).toMatchObject([{ state: "waiting", dueMs: head.dueMs }]);
  });

  test("holding again keeps the moment since when, and the last error where there is no new one", async () => {
    const lease = await acquire();
    const [head] = (await stored("a")) as [Row];
    const hold = (state: KeyState, inMs: number, attempts: number, error?: string) =>
      settle(lease, { kind: "hold", state, due: { inMs }, head: { seq: head.seq, attempts, error } });
    await hold("blocked", 0, 1, "down");
    const [first] = await under.keys();
    await hold("unroutable", HOUR_MS, 1);
    const [row] = await under.rows();
    expect(row).toMatchObject({ state: "held", attempts: 1, lastError: "down" });
    expect(await under.keys()).toEqual([{ ...first!, state: "unroutable", dueMs: row!.dueMs }]);
  });

  test("holds nothing for a head that is gone", async () => {
    const lease = await acquire();
    const [head] = (await stored("a")) as [Row];
    await settle(lease, { kind: "delete", seq: head.seq });
    const held = { seq: head.seq, attempts: 1 };
    expect(await settle(lease, { kind: "hold", state: "blocked", due: { inMs: 0 }, head: held })).toBe(true);
    expect(await under.keys()).toEqual([]);
  });

  test("sets calls aside behind their head", async () => {
    const lease = await acquire();
    const [head, second, third, other] = (await stored("a", "a", "a", "b")) as [Row, Row, Row, Row];
    const held = { seq: head.seq, attempts: 1, error: "down" };
    await settle(
      lease,
      { kind: "hold", state: "blocked", due: { inMs: 0 }, head: held },
      { kind: "set-aside", seqs: seqs([second, third]) },
    );
    expect(await under.rows()).toMatchObject([
      { state: "held", attempts: 1 },
      { ...second, state: "held" },
      { ...third, state: "held" },
      other,
    ]);
    const { calls, aside } = await under.store.fetchLine(lease, 10);
    expect({ calls: calls.map(({ seq }) => seq), aside }).toEqual({ calls: [other.seq], aside: [] });
    const behind = await under.store.fetchHeld(lease, Buffer.from("a"), head.seq, 10);
    expect(behind.map(({ seq }) => seq)).toEqual(seqs([second, third]));
  });

  test("sets aside only what still stands in line", async () => {
    const lease = await acquire();
    const [sent, gone, pending] = (await stored("a", "a", "a")) as [Row, Row, Row];
    await settle(lease, { kind: "mark-sent", seq: sent.seq }, { kind: "delete", seq: gone.seq });
    await settle(lease, { kind: "set-aside", seqs: seqs([sent, gone, pending]) }, { kind: "set-aside", seqs: [] });
    expect((await under.rows()).map(({ state }) => state)).toEqual(["sent", "held"]);
  });

  test("releases a key without held calls, and no other key", async () => {
    const lease = await acquire();
    const rows = await stored("a", "A", "b");
    const other = (await under.store.acquireStream("other")) as StreamLease;
    const [elsewhere] = (await stored({ stream: "other" })) as [Row];
    const hold = (head: Row): StreamSettlement => ({
      kind: "hold",
      state: "blocked",
      due: { inMs: 0 },
      head: { seq: head.seq, attempts: 1 },
    });
    await settle(lease, ...rows.map(hold));
    await settle(other, hold(elsewhere));
    const release: StreamSettlement = { kind: "release", key: Buffer.from("a") };
    const states = async () =>
      (await under.keys()).map(({ stream, orderingKey }) => `${stream} ${orderingKey.toString()}`);
    expect(await settle(lease, release)).toBe(true);
    expect(await states()).toEqual(["line A", "line a", "line b", "other a"]);
    // In one group: the last held call ends, and its key with it.
    expect(await settle(lease, { kind: "delete", seq: rows[0]!.seq }, release)).toBe(true);
    expect(await states()).toEqual(["line A", "line b", "other a"]);
    expect(await settle(lease, release)).toBe(true);
    const sent: StreamSettlement = { kind: "mark-sent", seq: rows[2]!.seq };
    expect(await settle(lease, sent, { kind: "release", key: Buffer.from("b") })).toBe(true);
    expect(await states()).toEqual(["line A", "other a"]);
  });

  test("settles a long group of every kind", async () => {
    const lease = await acquire();
    const rows = await stored(...Array.from({ length: 300 }, (_, n) => `key ${n}`));
    const kinds = rows.map(({ seq }, n): StreamSettlement => {
      if (n % 3 === 0) return { kind: "delete", seq };
      if (n % 3 === 1) return { kind: "mark-sent", seq };
      return { kind: "hold", state: "blocked", due: { inMs: HOUR_MS }, head: { seq, attempts: 1, error: "down" } };
    });
    expect(await settle(lease, ...kinds)).toBe(true);
    const states = (await under.rows()).map(({ state }) => state);
    expect(states.filter((state) => state === "sent")).toHaveLength(100);
    expect(states.filter((state) => state === "held")).toHaveLength(100);
    expect(states).toHaveLength(200);
    expect(await under.keys()).toHaveLength(100);
  });

  test("settles all or nothing", async () => {
    const lease = await acquire();
    const rows = await stored("a", "b", "c", "d");
    const refused = { seq: rows[3]!.seq, attempts: Number.NaN };
    const settling = settle(
      lease,
      { kind: "delete", seq: rows[0]!.seq },
      { kind: "mark-sent", seq: rows[1]!.seq },
      { kind: "hold", state: "blocked", due: { inMs: 0 }, head: { seq: rows[2]!.seq, attempts: 1 } },
      { kind: "hold", state: "blocked", due: { inMs: 0 }, head: refused },
    );
    await expect(settling).rejects.toThrow();
    expect(await under.rows()).toEqual(rows);
    expect(await under.keys()).toEqual([]);
  });
});
