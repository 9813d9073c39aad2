import { expect, test } from "vitest";
import { describeEachEngine } from "../support/databases.js";
import { aCall, inLine, insert, useStore } from "./support.js";

/** What stands between two joined values, in front of one, and nothing at all. */
const TEXTS = ["a\u001fb", "\u001e", "", "\u001e\u001f\u001e", "plain"];

describeEachEngine("calls with the characters that separate joined ones", (engine) => {
  const under = useStore(engine);

  test("are claimed as they are, and suspected where their last claim has ended", async () => {
    const { store } = under;
    const saved = TEXTS.map((payload) => aCall({ payload, headers: "{}" }));
    await insert(under, saved);
    const payloads = async () => {
      const claimed = await store.claimDue("default", 10);
      const found = new Map(claimed.map(({ id, payload, isSuspect }) => [id, [payload, isSuspect]]));
      return saved.map(({ id }) => found.get(id));
    };
    expect(await payloads()).toEqual(TEXTS.map((text) => [text, false]));
    await under.expireCalls((await under.rows()).map(({ seq }) => seq));
    expect(await payloads()).toEqual(TEXTS.map((text) => [text, true]));
  });

  test("are claimed as they are, wherever the character is, among others that wait beside them", async () => {
    const { store } = under;
    const odd = ["a\u001fb", "\u001e", "\u001f\u001f", "\u001e\u001f\u001e"];
    const saved = [
      aCall(),
      ...odd.flatMap((text) => [
        aCall({ functionName: text }),
        aCall({ orderingKey: Buffer.from(text) }),
        aCall({ headers: text }),
        aCall({ codec: text, signature: text }),
      ]),
      aCall({ functionName: "", codec: "", headers: "", signature: "", payload: "" }),
    ];
    await insert(under, saved);
    // Of three of them the last claim has ended; one has failed before.
    const suspects = new Set([1, 2, 3].map((n) => saved[n]!.id));
    const before = await store.claimById([...suspects]);
    await under.expireCalls(before.map(({ lease }) => lease.seq));
    const [failed] = await store.claimById([saved[4]!.id]);
    await store.settleCalls([
      { lease: failed!.lease, settled: { state: "pending", attempts: 3, delayMs: 0, error: "no" } },
    ]);
    const claimed = new Map((await store.claimDue("default", 100)).map((call) => [call.id, call]));
    expect(claimed.size).toBe(saved.length);
    const seqs = new Map((await under.rows()).map((row) => [row.id, row.seq]));
    const tokens = new Map((await under.rows()).map((row) => [row.id, row.leaseToken]));
    for (const [n, call] of saved.entries()) {
      const { id, functionName, codec, headers, signature, payload, orderingKey, stream } = call;
      expect(claimed.get(id)).toMatchObject({ id, functionName, codec, headers, payload, orderingKey, stream });
      expect(claimed.get(id)!.signature).toBe(signature);
      expect(claimed.get(id)).toMatchObject({
        attempts: n === 4 ? 3 : 0,
        fence: suspects.has(id) || n === 4 ? 2 : 1,
        isSuspect: suspects.has(id),
        lease: { seq: seqs.get(id), token: tokens.get(id) },
      });
    }
    const settlements = [...claimed.values()].map(({ lease }) => ({ lease, settled: { state: "deleted" } as const }));
    expect(await store.settleCalls(settlements)).toEqual([]);
    expect(await under.rows()).toEqual([]);
  });

  test("are claimed by id as they are, their streams included", async () => {
    const { store } = under;
    const saved = ["plain", "a\u001fb", "\u001e", "\u001f"].map((stream) => aCall({ stream, payload: `[1]` }));
    await insert(under, saved);
    const ids = saved.map(({ id }) => id);
    const found = new Map((await store.claimById(ids)).map((call) => [call.id, call]));
    expect(ids.map((id) => found.get(id))).toMatchObject(saved.map(({ stream }) => ({ stream, isSuspect: false })));
    expect(await store.claimById(ids)).toEqual([]);
  });

  test("are never read ahead as others", async () => {
    const { store } = under;
    await insert(under, [inLine("first"), ...TEXTS.map((payload) => inLine("key\u001f", { payload }))]);
    const lease = (await store.acquireStream("line"))!;
    const [first] = (await store.fetchLine(lease, 1)).calls;
    const ahead = await store.readAhead(lease, first!.seq, 10, []);
    // Where they cannot be told apart, the line is read from its head.
    if (ahead) expect(ahead.calls.map(({ payload }) => payload)).toEqual(TEXTS);
    const { calls } = await store.fetchLine(lease, 10);
    expect(calls.slice(1).map(({ payload }) => payload)).toEqual(TEXTS);
    expect(calls.at(-1)!.keyName).toBe("key\u001f");
  });

  test("are never read ahead as others, whichever column has one", async () => {
    const { store } = under;
    const text = "a\u001f\u001eb";
    const odd = [
      inLine("k", { functionName: text }),
      inLine("k", { headers: text }),
      inLine("k", { codec: text, signature: text }),
      inLine(text),
    ];
    const lease = (await store.acquireStream("line"))!;
    for (const one of odd) {
      await insert(under, [inLine("first"), inLine("k"), one, inLine("k", { payload: "last" })]);
      const [first] = (await store.fetchLine(lease, 1)).calls;
      const ahead = await store.readAhead(lease, first!.seq, 10, []);
      const read = ahead?.calls ?? (await store.fetchLine(lease, 10)).calls.slice(1);
      expect(read).toHaveLength(3);
      const { id, functionName, headers, codec, payload, orderingKey } = one;
      expect(read[1]).toMatchObject({ id, functionName, headers, codec, payload, orderingKey });
      expect(read[1]!.signature).toBe(one.signature);
      expect(read[2]).toMatchObject({ functionName: "send", payload: "last", codec: "superjson", headers: "{}" });
      await under.select(`delete from ${under.tables.calls}`);
    }
  });

  test("are read ahead with what is plain", async () => {
    const { store } = under;
    await insert(under, [inLine("first"), inLine("", { payload: "" }), inLine("\u001e", { payload: "\u001e" })]);
    const lease = (await store.acquireStream("line"))!;
    const [first] = (await store.fetchLine(lease, 1)).calls;
    const { calls } = (await store.readAhead(lease, first!.seq, 10, []))!;
    expect(calls.map(({ keyName, payload }) => [keyName, payload])).toEqual([
      ["", ""],
      ["\u001e", "\u001e"],
    ]);
  });
});
