import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Codec, type Outbox, UndecodablePayloadError } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { until } from "../support/waiting.js";

const DEEP = 100_000;
const MEGABYTES = 12 * 1024 * 1024;

/** Not what the codec says of a payload (see test/codec), but what becomes of the row that has it. */
const POISONS: [what: string, change: Record<string, unknown>, lastError: RegExp][] = [
  ["no payload", { payload: "" }, /could not decode the payload/],
  ["a truncated payload", { payload: '{"json":["so' }, /could not decode the payload/],
  ["a payload that is no array", { payload: "{}" }, /could not decode the payload/],
  ["megabytes of nonsense", { payload: "x".repeat(MEGABYTES) }, /could not decode the payload/],
  ["megabytes that break off", { payload: `{"json":["${"x".repeat(MEGABYTES)}"` }, /could not decode the payload/],
  ["a nest that is not closed", { payload: `{"json":[${"[".repeat(DEEP)}` }, /could not decode the payload/],
  [
    "a deep nest",
    { payload: `{"json":[${"[".repeat(DEEP)}"__proto__"${"]".repeat(DEEP)}]}` },
    /could not decode the payload/,
  ],
  ["a key __proto__", { payload: '{"json":[{"__proto__":{"polluted":1}}]}' }, /could reach a prototype/],
  ["a key constructor", { payload: '{"json":[{"constructor":{"prototype":{"polluted":1}}}]}' }, /reach a prototype/],
  [
    "a path to a prototype",
    { payload: '{"json":[{"a":1}],"meta":{"values":{"0.__proto__.polluted":["set"]},"v":1}}' },
    /could not decode the payload/,
  ],
  ["an unknown codec", { codec: "msgpack" }, /by the codec "msgpack", which this process does not know/],
  ["a codec named as a method", { codec: "constructor" }, /by the codec "constructor", which this process does not/],
  ["another function's codec", { codec: "json" }, /the codec json decoded the payload to Object instead of an array/],
  ["another function's codec that fails", { codec: "failing" }, /the codec failing could not decode the payload: no/],
  ["headers that are none", { headers: "" }, /the headers of call \S+ are no JSON object of texts/],
  ["headers that break off", { headers: '{"tenant":"a' }, /are no JSON object of texts/],
  ["headers that are null", { headers: "null" }, /are no JSON object of texts/],
  ["headers that are a text", { headers: '"tenant"' }, /are no JSON object of texts/],
  ["headers that are an array", { headers: '["tenant"]' }, /are no JSON object of texts/],
  ["headers that nest", { headers: '{"tenant":{"name":"a"}}' }, /are no JSON object of texts/],
  ["headers with a number", { headers: '{"tenant":1}' }, /are no JSON object of texts/],
  ["headers with a prototype", { headers: '{"__proto__":{"polluted":"1"}}' }, /are no JSON object of texts/],
  [
    "headers that nest deep",
    { headers: `{"a":${"[".repeat(DEEP)}${"]".repeat(DEEP)}}` },
    /are no JSON object of texts/,
  ],
  ["version 0", { version: 0 }, /has the version 0; the first one is 1/],
];
const NEGATIVE: (typeof POISONS)[number] = ["version -1", { version: -1 }, /has the version -1; the first one is 1/];

afterEach(() => {
  expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
});

describeEachEngine("a row that somebody has edited", (engine) => {
  const outboxes = useOutboxes(engine);
  // MySQL's column has no sign.
  const poisons = engine.dialect === "pg" ? [...POISONS, NEGATIVE] : POISONS;
  let outbox: Outbox;
  let ran: string[];
  let failures: { args: readonly unknown[]; error: unknown }[];
  beforeEach(() => {
    [ran, failures] = [[], []];
    outbox = outboxes.open({ pollInterval: 10 });
    outbox.on("failed", ({ call: { args }, error }) => void failures.push({ args, error }));
    const json: Codec = { name: "json", encode: JSON.stringify, decode: (text) => JSON.parse(text) as unknown[] };
    const decode = (text: string) => {
      if (text === "[]") return [];
      throw new Error("no");
    };
    outbox.saveToOutbox(() => undefined, { name: "by json", codec: json });
    outbox.saveToOutbox(() => undefined, {
      name: "by failing",
      codec: { name: "failing", encode: () => "[]", decode },
    });
  });

  const wrap = (to: Outbox, strategy: "publish-on-commit" | "keep-order") =>
    to.saveToOutbox(async (text: string) => void ran.push(text), { name: "note", strategy });

  /** Stores calls that nobody has run yet; keep-order by keys that are the texts without their last letter. */
  async function save(strategy: "publish-on-commit" | "keep-order", texts: readonly string[]) {
    const saver = outboxes.open();
    const note = wrap(saver, strategy);
    await saver.close();
    const ids = new Map<string, string>();
    await outboxes.knex.transaction(async (trx) => {
      for (const text of texts) {
        const perCall = strategy === "keep-order" ? { orderingKey: text.slice(0, -1) } : {};
        ids.set(text, (await note.with({ trx, ...perCall })(text)).id);
      }
    });
    return ids;
  }

  const tamper = (id: string | undefined, change: Record<string, unknown>) =>
    outboxes.table("calls").where({ id }).update(change);

  /** Poisons each but the last two, and remembers what the rows were. */
  async function poison(ids: ReadonlyMap<string, string>) {
    const was = await outboxes.table("calls").select("id", "payload", "codec", "headers", "version");
    for (const [what, change] of poisons) await tamper(ids.get(`${what}1`), change);
    return async () => {
      for (const { id, ...row } of was) await tamper(id as string, row);
    };
  }

  const errorsOf = async (ids: ReadonlyMap<string, string>) => {
    const rows = new Map((await outboxes.rows()).map((row) => [row.id, row]));
    return poisons.map(([what]) => [what, rows.get(ids.get(`${what}1`)!)] as const);
  };

  const expectFailed = async (ids: ReadonlyMap<string, string>, state: string) => {
    expect(failures).toHaveLength(poisons.length);
    for (const { args, error } of failures) {
      expect(error).toBeInstanceOf(UndecodablePayloadError);
      expect(args).toEqual([]);
    }
    const found = await errorsOf(ids);
    const expected = poisons.map(([what, , lastError]) => [
      what,
      { attempts: 1, state, lastError: expect.stringMatching(lastError) as unknown },
    ]);
    expect(found).toMatchObject(expected);
    for (const [, row] of found) expect(row!.lastError!.length).toBeLessThanOrEqual(4000);
  };

  it("by publish-on-commit fails, says what is wrong, and stops no other", async () => {
    const ids = await save("publish-on-commit", [...poisons.map(([what]) => `${what}1`), "good1", "good2"]);
    const mend = await poison(ids);
    wrap(outbox, "publish-on-commit");
    expect(await outbox.relay()).toMatchObject({ published: 2, failed: poisons.length, dead: 0, unroutable: 0 });
    expect(ran.splice(0).sort()).toEqual(["good1", "good2"]);
    await expectFailed(ids, "pending");
    await mend();
    await outboxes.table("calls").update({ due_at: outboxes.knex.raw(outboxes.dialect.now) });
    expect(await outbox.relay()).toMatchObject({ published: poisons.length, failed: 0 });
    expect(await outboxes.rows()).toEqual([]);
  });

  it("by keep-order blocks its key alone, and says why; mended, the key goes on in its order", async () => {
    const texts = poisons.flatMap(([what]) => [`${what}1`, `${what}2`]);
    const ids = await save("keep-order", [...texts, "good1", "good2"]);
    const mend = await poison(ids);
    wrap(outbox, "keep-order");
    const blocked: unknown[] = [];
    outbox.on("blocked", ({ call }) => void blocked.push(call.orderingKey));
    const count = poisons.length;
    expect(await outbox.relay()).toMatchObject({ published: 2, failed: count, unroutable: 0, blockedCount: count });
    expect(ran.splice(0)).toEqual(["good1", "good2"]);
    expect(blocked.sort()).toEqual(poisons.map(([what]) => what).sort());
    await expectFailed(ids, "held");
    await mend();
    const due_at = outboxes.knex.raw(outboxes.dialect.now);
    for (const table of ["calls", "keys"] as const) await outboxes.table(table).update({ due_at });
    expect(await outbox.relay()).toMatchObject({ published: 2 * count, failed: 0 });
    for (const [what] of poisons) {
      expect(ran.filter((text) => text.slice(0, -1) === what)).toEqual([`${what}1`, `${what}2`]);
    }
    expect(await outboxes.rows()).toEqual([]);
  });

  it("is tried again and again by a relayer, beside which new calls run", async () => {
    const impatient = outboxes.open({ pollInterval: 10, retry: { initialDelay: 20, factor: 1, jitter: 0 } });
    let failed = 0;
    impatient.on("failed", () => void (failed += 1));
    const ids = await save("keep-order", [...poisons.map(([what]) => `${what}1`), "good1"]);
    await poison(ids);
    const note = wrap(impatient, "keep-order");
    const relayer = impatient.startRelayer();
    for (let n = 2; n <= 5; n++) {
      const before = failed;
      await until("the poison has failed again", () => failed > before + poisons.length, 60_000);
      await impatient.transaction(() => note.with({ orderingKey: "good" })(`good${n}`));
      await until("a call beside it ran", () => ran.length === n);
    }
    await relayer.stop();
    expect(ran).toEqual(["good1", "good2", "good3", "good4", "good5"]);
    expect(await outboxes.rows()).toHaveLength(poisons.length);
  }, 120_000);

  describe.each(["publish-on-commit", "keep-order"] as const)("by %s", (strategy) => {
    it("runs where it is only large, deep or odd", async () => {
      const ids = await save(strategy, ["large1", "deep1", "odd1"]);
      const large = "é".repeat(MEGABYTES / 2);
      await tamper(ids.get("large1"), { payload: JSON.stringify({ json: [large] }) });
      await tamper(ids.get("deep1"), { payload: `{"json":["deep", ${"[".repeat(DEEP)}${"]".repeat(DEEP)}]}` });
      const odd = '{"json":["odd __proto__"],"more":{"a":1}}';
      await tamper(ids.get("odd1"), { payload: odd, headers: '{"__proto__":"polluted","constructor":"x"}' });
      wrap(outbox, strategy);
      expect(await outbox.relay()).toMatchObject({ published: 3, failed: 0 });
      expect(ran.map((text) => text.slice(0, 20)).sort()).toEqual(["deep", "odd __proto__", large.slice(0, 20)]);
    });

    it("is unroutable under a function's name in other letters, or that of a method", async () => {
      const names = ["Note", "NOTE", "note ", "nóte", "__proto__", "constructor", "toString", "hasOwnProperty", ""];
      const ids = await save(strategy, [...names.map((_, n) => `${n}1`), "good1"]);
      for (const [n, function_name] of names.entries()) await tamper(ids.get(`${n}1`), { function_name });
      wrap(outbox, strategy);
      expect(await outbox.relay()).toMatchObject({ published: 1, failed: 0, dead: 0, unroutable: names.length });
      expect(ran).toEqual(["good1"]);
      const rows = await outboxes.rows();
      expect(rows.map(({ functionName }) => functionName)).toEqual(names);
      expect(rows.every(({ attempts, lastError }) => attempts === 0 && lastError === null)).toBe(true);
    });
  });

  it("has an ordering key of any bytes: keys that are no text are kept apart, each in its order", async () => {
    const keys = ["ff", "fe", "c328", "00", "", "ed a0 80", "efbfbd", "41", "61", "6120", "ff".repeat(255)].map((hex) =>
      Buffer.from(hex.replaceAll(" ", ""), "hex"),
    );
    const ids = await save(
      "keep-order",
      keys.flatMap((_, n) => [`${n}-1`, `${n}-2`, `${n}-3`]),
    );
    for (const [n, ordering_key] of keys.entries()) {
      for (const m of [1, 2, 3]) await tamper(ids.get(`${n}-${m}`), { ordering_key });
      if (n % 2 === 0) await tamper(ids.get(`${n}-2`), { payload: "" });
    }
    wrap(outbox, "keep-order");
    const blocked = keys.filter((_, n) => n % 2 === 0).length;
    const free = keys.length - blocked;
    expect(await outbox.relay()).toMatchObject({ published: blocked + 3 * free, blockedCount: blocked });
    for (const n of keys.keys()) {
      const expected = n % 2 === 0 ? [`${n}-1`] : [`${n}-1`, `${n}-2`, `${n}-3`];
      expect(ran.filter((text) => text.startsWith(`${n}-`))).toEqual(expected);
    }
    expect(await outboxes.table("keys")).toHaveLength(blocked);
  });
});
