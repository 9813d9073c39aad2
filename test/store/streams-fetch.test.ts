import { expect, test } from "vitest";
import type { DueKey, QueuedCall } from "../../src/store/fetch-stream.js";
import { fetchLine, READ_AHEAD_BYTES } from "../../src/store/fetch-stream.js";
import type { NewCall } from "../../src/store/insert-calls.js";
import { openDatabase } from "../../src/store/own-connections.js";
import type { Due, KeyState, StreamLease } from "../../src/store/serve-stream.js";
import { describeEachEngine } from "../support/databases.js";
import { aCall, inLine, insert, useStore } from "./support.js";

const HOUR_MS = 60 * 60 * 1000;
const ids = (calls: readonly { id: string }[]) => calls.map(({ id }) => id);

describeEachEngine("fetching the calls of a stream", (engine) => {
  const under = useStore(engine);
  const acquire = async () => (await under.store.acquireStream("line")) as StreamLease;
  const seqOf = async ({ id }: NewCall) => (await under.rows()).find((row) => row.id === id)!.seq;
  const hold = async (lease: StreamLease, call: NewCall, due: Due = { inMs: 0 }, state: KeyState = "blocked") => {
    const head = { seq: await seqOf(call), attempts: 1 };
    expect(await under.store.settleStream(lease, [{ kind: "hold", state, due, head }])).toBe(true);
  };
  const setAside = async (lease: StreamLease, calls: readonly NewCall[]) => {
    const seqs = [];
    for (const call of calls) seqs.push(await seqOf(call));
    expect(await under.store.settleStream(lease, [{ kind: "set-aside", seqs }])).toBe(true);
  };

  test("gives the line in order, with all that a run needs", async () => {
    const lease = await acquire();
    const first = inLine("b", {
      functionName: "publish",
      codec: "mine",
      version: 3,
      payload: `["ç 🙂"]`,
      headers: `{"a":"?"}`,
    });
    await insert(under, [first, inLine("a"), inLine("b"), inLine("")]);
    const rows = await under.rows();
    const { calls, aside } = await under.store.fetchLine(lease, 10);
    expect(aside).toEqual([]);
    expect(ids(calls)).toEqual(ids(rows));
    expect(calls[0]).toMatchObject({
      seq: rows[0]!.seq,
      functionName: "publish",
      stream: "line",
      strategy: "keep-order",
      orderingKey: Buffer.from("b"),
      codec: "mine",
      version: 3,
      payload: first.payload,
      headers: first.headers,
      attempts: 0,
      fence: lease.fence,
      createdAtMs: rows[0]!.createdMs,
      isDue: true,
    });
    expect(ids((await under.store.fetchLine(lease, 3)).calls)).toEqual(ids(rows.slice(0, 3)));
  });

  test("gives no call of another stream, another strategy or another state", async () => {
    const lease = await acquire();
    const [call, held, sent] = [inLine("a"), inLine("b"), inLine("c")];
    await insert(under, [
      ...[inLine("a", { stream: "Line" }), inLine("a", { stream: "lines" }), aCall({ stream: "line" })],
      ...[call, held, sent],
    ]);
    await hold(lease, held);
    await under.store.settleStream(lease, [{ kind: "mark-sent", seq: await seqOf(sent) }]);
    const fetched = await under.store.fetchLine(lease, 10);
    expect(ids(fetched.calls)).toEqual([call.id]);
    expect(fetched.aside).toEqual([]);
  });

  test("gives more of what stands aside than was asked for, where the line begins with nothing else", async () => {
    const lease = await acquire();
    const head = inLine("a");
    await insert(under, [head]);
    await hold(lease, head);
    const behind = Array.from({ length: 6 }, () => inLine("a"));
    const other = inLine("b");
    await insert(under, [...behind.slice(0, 4), other, ...behind.slice(4)]);
    const rows = await under.rows();
    const seqs = behind.map(({ id }) => rows.find((row) => row.id === id)!.seq);
    const many = await under.store.fetchLine(lease, 3);
    expect(many.calls).toEqual([]);
    expect(many.aside.map(({ seq }) => Number(seq)).toSorted((x, y) => x - y)).toEqual(seqs.map(Number));
    expect(many.aside.every(({ key }) => key.toString() === "a")).toBe(true);
    const few = await under.store.fetchLine(lease, 5);
    expect(ids(few.calls)).toEqual([other.id]);
    expect(few.aside.map(({ seq }) => seq)).toEqual(seqs.slice(0, 4));
  });

  test("says which are due; the others keep their place", async () => {
    const lease = await acquire();
    const later = inLine("a", { delayMs: HOUR_MS });
    await insert(under, [later, inLine("a"), inLine("b", { runAtMs: Date.now() - HOUR_MS })]);
    const { calls } = await under.store.fetchLine(lease, 10);
    expect(calls.map(({ isDue }) => isDue)).toEqual([false, true, true]);
    expect(calls[0]!.id).toBe(later.id);
  });

  test("reads small payloads ahead, in bytes, and the large ones when asked", async () => {
    const lease = await acquire();
    const exact = "é".repeat(READ_AHEAD_BYTES / 2);
    const calls = [exact, `${exact}e`, "x".repeat(3 * 1024 * 1024), ""].map((payload) => inLine("a", { payload }));
    await insert(under, calls);
    const { calls: fetched } = await under.store.fetchLine(lease, 10);
    expect(fetched.map(({ payload }) => payload)).toEqual([exact, undefined, undefined, ""]);
    for (const [n, { seq }] of fetched.entries()) {
      expect((await under.store.readPayload(seq)) === calls[n]!.payload).toBe(true);
    }
    await under.store.settleStream(lease, [{ kind: "delete", seq: fetched[1]!.seq }]);
    expect(await under.store.readPayload(fetched[1]!.seq)).toBeUndefined();
  });

  test("tells the calls apart whose key was set aside before, byte by byte", async () => {
    const lease = await acquire();
    const heads = ["Cust-a", "é"].map((key) => inLine(key));
    const behind = ["Cust-a", "cust-A", "Cust-a ", "é", "e\u0301", "Cust-a"].map((key) => inLine(key));
    await insert(under, [...heads, ...behind]);
    for (const head of heads) await hold(lease, head);
    const { calls, aside } = await under.store.fetchLine(lease, 10);
    expect(ids(calls)).toEqual(ids([behind[1]!, behind[2]!, behind[4]!]));
    const seqs = new Map((await under.rows()).map((row) => [row.id, row.seq]));
    expect(aside).toEqual(
      [behind[0]!, behind[3]!, behind[5]!].map((call) => ({ seq: seqs.get(call.id), key: call.orderingKey })),
    );
    // One stream's key is none of another's.
    const other = (await under.store.acquireStream("other")) as StreamLease;
    await insert(under, [inLine("Cust-a", { stream: "other" })]);
    expect((await under.store.fetchLine(other, 10)).calls).toHaveLength(1);
  });

  test.skipIf(engine.name === "pglite")("gives a call that commits after a later one", async () => {
    const lease = await acquire();
    const [early, late] = [inLine("a"), inLine("b")];
    const trx = await under.begin();
    await under.store.insert(trx, [early]);
    await insert(under, [late]);
    expect(ids((await under.store.fetchLine(lease, 10)).calls)).toEqual([late.id]);
    await trx.commit();
    expect(ids((await under.store.fetchLine(lease, 10)).calls)).toEqual([early.id, late.id]);
  });

  test.skipIf(engine.name === "pglite")(
    "gives no later call that stands aside without an earlier one that commits meanwhile",
    async () => {
      const lease = await acquire();
      const heads = [inLine("a"), inLine("b")];
      await insert(under, heads);
      for (const head of heads) await hold(lease, head);
      const trx = await under.begin();
      await under.store.insert(trx, [inLine("a")]);
      await insert(under, [inLine("b"), inLine("b")]);
      await under.store.insert(trx, [inLine("a")]);
      const own = openDatabase(under.knex, 1, under.tables);
      let statements = 0;
      const committing: typeof own = {
        ...own,
        async query(sql, bindings) {
          if (++statements === 2) await trx.commit();
          return own.query(sql, bindings);
        },
      };
      try {
        const { aside } = await fetchLine(committing, lease, 2);
        expect(aside.map(({ key }) => key.toString())).toEqual(["a", "b", "b", "a"]);
        expect(statements).toBe(2);
      } finally {
        await own.close();
      }
    },
  );

  test("knows whether the line has other keys", async () => {
    const lease = await acquire();
    const keys = (...list: string[]) => list.map((key) => Buffer.from(key));
    expect(await under.store.hasOtherKeys(lease, keys("a"))).toBe(false);
    expect(await under.store.hasOtherKeys(lease, [])).toBe(false);
    const [a, b] = [inLine("a"), inLine("b")];
    await insert(under, [a, b, inLine("a"), inLine("c", { stream: "other" }), aCall({ stream: "line" })]);
    expect(await under.store.hasOtherKeys(lease, [])).toBe(true);
    expect(await under.store.hasOtherKeys(lease, keys("a"))).toBe(true);
    expect(await under.store.hasOtherKeys(lease, keys("a", "b"))).toBe(false);
    expect(await under.store.hasOtherKeys(lease, keys("a", "B"))).toBe(true);
    expect(await under.store.hasOtherKeys(lease, keys("b", "x"))).toBe(true);
    await hold(lease, b);
    expect(await under.store.hasOtherKeys(lease, keys("a"))).toBe(false);
  });

  test("gives the keys that are due, those that waited longest first, with their heads", async () => {
    const lease = await acquire();
    const now = await under.store.readClock();
    const at = (key: string, agoMs: number) => inLine(key, { runAtMs: now - agoMs, payload: `["${key}"]` });
    const heads = [at("later", 1000), at("first", 5000), at("second", 3000)];
    const notDue = inLine("not due", { delayMs: HOUR_MS });
    const elsewhere = inLine("first", { stream: "other", runAtMs: 0 });
    await insert(under, [elsewhere, ...heads, notDue, inLine("in line")]);
    await hold((await under.store.acquireStream("other")) as StreamLease, elsewhere, "when-head-is-due");
    for (const head of [...heads, notDue]) await hold(lease, head, "when-head-is-due", "waiting");
    const large = "x".repeat(READ_AHEAD_BYTES + 1);
    const behind = [inLine("first"), inLine("second", { payload: large }), inLine("first")];
    await insert(under, behind);
    await setAside(lease, behind);
    const keysOf = (due: readonly DueKey[]) => due.map(({ key }) => key.toString());
    const due = await under.store.fetchDueKeys(lease, 10);
    expect(keysOf(due)).toEqual(["first", "second", "later"]);
    expect(due.map(({ head }) => head?.id)).toEqual([heads[1]!.id, heads[2]!.id, heads[0]!.id]);
    expect(due[0]!.head).toMatchObject({
      payload: `["first"]`,
      isDue: true,
      attempts: 1,
      fence: lease.fence,
      orderingKey: Buffer.from("first"),
    });
    expect(keysOf(await under.store.fetchDueKeys(lease, 1))).toEqual(["first"]);
    expect(keysOf(await under.store.fetchDueKeys(lease, 10, now - 2000))).toEqual(["first", "second"]);
    expect(keysOf(await under.store.fetchDueKeys(lease, 10, now - 6000))).toEqual([]);
    // A head that is sent leaves the next one, whose payload is large, or none.
    await under.store.settleStream(lease, [
      { kind: "delete", seq: due[1]!.head!.seq },
      { kind: "mark-sent", seq: due[2]!.head!.seq },
    ]);
    const [, second, later] = (await under.store.fetchDueKeys(lease, 10)) as [DueKey, DueKey, DueKey];
    expect(second.head).toMatchObject({ id: behind[1]!.id, attempts: 0 });
    expect(second.head!.payload).toBeUndefined();
    expect(later).toEqual({ key: Buffer.from("later") });
  });

  test("gives what stands behind a held head, in order, by the very key", async () => {
    const lease = await acquire();
    const keys = ["Cust-a", "cust-A", "Cust-a ", ""];
    // The same key of another stream, which stands aside as well, before and behind.
    const elsewhere = [inLine("Cust-a", { stream: "other" }), inLine("Cust-a", { stream: "other" })];
    const heads = keys.map((key) => inLine(key));
    const behind = Array.from({ length: 12 }, (_, n) => inLine(keys[n % 4]!, { payload: `[${n}]` }));
    await insert(under, [elsewhere[0]!, ...heads, ...behind, elsewhere[1]!]);
    for (const head of heads) await hold(lease, head);
    await setAside(lease, behind);
    const other = (await under.store.acquireStream("other")) as StreamLease;
    await hold(other, elsewhere[0]!);
    await setAside(other, elsewhere.slice(1));
    await insert(under, [inLine("Cust-a")]);
    for (const [n, key] of keys.entries()) {
      const expected = behind.filter((_, index) => index % 4 === n);
      const fetch = (after: QueuedCall | { seq: number | string }, limit: number) =>
        under.store.fetchHeld(lease, Buffer.from(key), after.seq, limit);
      const all = await fetch({ seq: await seqOf(heads[n]!) }, 10);
      expect(ids(all)).toEqual(ids(expected));
      expect(all[0]).toMatchObject({ isDue: true, fence: lease.fence, payload: expected[0]!.payload });
      expect(ids(await fetch(all[0]!, 10))).toEqual(ids(expected.slice(1)));
      expect(ids(await fetch(all[0]!, 1))).toEqual(ids(expected.slice(1, 2)));
      expect(await fetch(all[2]!, 10)).toEqual([]);
    }
    expect(await under.store.fetchHeld(lease, Buffer.from("nobody"), 0, 10)).toEqual([]);
  });
});
