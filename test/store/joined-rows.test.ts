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
