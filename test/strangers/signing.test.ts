import { randomUUID } from "node:crypto";
import { beforeEach, describe, expect, it } from "vitest";
import { type Codec, type OutboxOptions, SignatureError, type Strategy } from "../../src/index.js";
import { readPage } from "../docs/markdown.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { gate, until } from "../support/waiting.js";

const KEY = "a key of thirty-two bytes or more";
const NEW_KEY = Buffer.alloc(32, 7);

/** Larger than what keep-order reads ahead with a call. */
const LONG = "é".repeat(20_000);

describeEachEngine("signing", (engine) => {
  const outboxes = useOutboxes(engine);
  let ran: string[];
  let decoded: string[];
  let failures: { id: string; error: unknown; args: readonly unknown[] }[];
  beforeEach(() => ([ran, decoded, failures] = [[], [], []]));

  const codecs = ["json", "another"].map((name): Codec => ({
    name,
    encode: (args) => JSON.stringify(args),
    decode(text) {
      decoded.push(`${name} ${text}`);
      return JSON.parse(text) as unknown[];
    },
  }));

  const upcast = ([text]: unknown[]) => [`upcast ${text as string}`] as [string];
  /** A process that signs, with the functions `pay` and `refund`. */
  function open(strategy: Strategy, keys: readonly (string | Buffer)[] = [KEY], options: Partial<OutboxOptions> = {}) {
    const signing = keys.length > 0 ? { signing: { keys } } : {};
    const outbox = outboxes.open({ retry: { initialDelay: 0 }, ...signing, ...options });
    outbox.on("failed", ({ call, error }) => void failures.push({ id: call.id, error, args: call.args }));
    const wrap = (name: string, codec: Codec) =>
      outbox.saveToOutbox(async (text: string) => void ran.push(`${name} ${text.slice(0, 20)}`), {
        name,
        strategy,
        codec,
        version: 2,
        upcast,
      });
    return { outbox, pay: wrap("pay", codecs[0]!), refund: wrap("refund", codecs[1]!) };
  }

  /** Stores calls that nobody has run yet. @returns their ids */
  async function save(strategy: Strategy, texts: readonly string[], keys?: readonly (string | Buffer)[]) {
    const { outbox, pay } = open(strategy, keys);
    await outbox.close();
    const ids: string[] = [];
    await outboxes.knex.transaction(async (trx) => {
      for (const text of texts) {
        const headers = { tenant: "acme" };
        const perCall = strategy === "keep-order" ? { headers, orderingKey: text.slice(0, 20) } : { headers };
        ids.push((await pay.with({ trx, ...perCall })(text)).id);
      }
    });
    decoded = [];
    return ids;
  }

  const tamper = (id: string, change: Record<string, unknown>) => outboxes.table("calls").where({ id }).update(change);
  const signatureOf = async (id: string) =>
    (await outboxes.table("calls").where({ id }).first("signature"))!["signature"] as string | null;

  /** As the documentation tells an operator to. */
  async function countUnsigned() {
    const fences = readPage("docs/signing.md").sections.flatMap((section) => section.fences);
    const sql = fences.find(({ language }) => language === "sql")!.code;
    const [row] = outboxes.dialect.result<Record<string, unknown>>(
      await outboxes.knex.raw(sql.replace("carteiro_", outboxes.tablePrefix)),
    ).rows;
    return Number(Object.values(row!)[0]);
  }

  const changes: [what: string, change: Record<string, unknown>][] = [
    ["payload", { payload: '["all of it"]' }],
    ["payload, by a space", { payload: '["first"] ' }],
    ["headers", { headers: '{"tenant":"other"}' }],
    ["function", { function_name: "refund" }],
    ["stream", { stream: "other" }],
    ["codec", { codec: "another" }],
    ["version", { version: 1 }],
    ["ordering key", { ordering_key: Buffer.from("other") }],
    ["id", { id: randomUUID() }],
    ["signature: taken off", { signature: null }],
    ["signature: emptied", { signature: "" }],
    ["signature: of another key's making", { signature: `1.${"A".repeat(43)}` }],
  ];

  describe.each(["publish-on-commit", "keep-order"] as const)("by %s", (strategy) => {
    const isOrdered = strategy === "keep-order";

    it.each([...changes, ["strategy", { strategy: isOrdered ? "publish-on-commit" : "keep-order" }] as const])(
      "refuses a call with another %s: it is kept, told, and stops no other; as it was, it runs",
      async (_what, change) => {
        const [first, second] = await save(strategy, ["first", "second"]);
        const row = await outboxes.table("calls").where({ id: first }).first();
        await tamper(first!, change);
        const { outbox } = open(strategy);
        expect(await outbox.relay()).toMatchObject({ published: 1, failed: 1, dead: 0, unroutable: 0 });
        expect({ ran, decoded }).toEqual({ ran: ["pay second"], decoded: ['json ["second"]'] });
        const id = (change["id"] as string | undefined) ?? first!;
        expect(failures).toEqual([{ id, error: expect.any(SignatureError) as unknown, args: [] }]);
        expect(failures[0]!.error).toMatchObject({ code: "CARTEIRO_SIGNATURE" });
        const [kept, ...others] = await outboxes.rows();
        expect({ kept, others }).toMatchObject({ kept: { id, attempts: 1 }, others: [] });
        expect(kept!.lastError).toMatch(
          new RegExp(`SignatureError: call ${id} of \\w+ (is not signed|does not match)`),
        );
        expect(second).toBeDefined();
        const asItWas = Object.fromEntries(Object.keys(change).map((column) => [column, row![column]]));
        await tamper(id, asItWas);
        await outboxes.table("keys").update({ ordering_key: row!["ordering_key"], stream: row!["stream"] });
        // A row that changed its strategy was held by the other one's rules.
        if (change["strategy"] !== undefined) await tamper(first!, { state: "pending" });
        expect(await outbox.relay()).toMatchObject({ published: 1 });
        expect(ran).toEqual(["pay second", "pay first"]);
      },
    );

    it("refuses calls that have exchanged their arguments, with and without their signatures", async () => {
      const ids = await save(strategy, ["first", "second", "third", "fourth"]);
      const rows = await Promise.all(ids.map((id) => outboxes.table("calls").where({ id }).first()));
      const exchange = async (one: number, other: number, columns: string[]) => {
        const of = (n: number) => Object.fromEntries(columns.map((column) => [column, rows[n]![column]]));
        await tamper(ids[one]!, of(other));
        await tamper(ids[other]!, of(one));
      };
      await exchange(0, 1, ["payload"]);
      await exchange(2, 3, ["payload", "headers", "signature"]);
      const { outbox } = open(strategy);
      expect(await outbox.relay()).toMatchObject({ published: 0, failed: 4 });
      expect({ ran, decoded }).toEqual({ ran: [], decoded: [] });
      expect(failures.map(({ error }) => (error as SignatureError).code)).toEqual(Array(4).fill("CARTEIRO_SIGNATURE"));
    });

    it("refuses a copy of a call under another id", async () => {
      const [id] = await save(strategy, ["first"]);
      const { seq: _seq, ...row } = (await outboxes.table("calls").where({ id }).first())!;
      await outboxes.table("calls").insert({ ...row, id: randomUUID() });
      const { outbox } = open(strategy);
      expect(await outbox.relay()).toMatchObject({ published: 1, failed: 1 });
      expect(ran).toEqual(["pay first"]);
    });

    it("lets through what nobody has touched, whatever it is made of", async () => {
      const { outbox } = open(strategy);
      const seen: unknown[] = [];
      const name = "enviá-lo \u{1f4ee}";
      const send = outbox.saveToOutbox(async (...args: unknown[]) => void seen.push(args), {
        name,
        strategy,
        stream: "fila d'água",
      });
      const key = isOrdered ? { orderingKey: "São João\u{1f4ee}\\'\"" } : {};
      const args = ["\0\ud800 \u{1f4ee}", new Map([[LONG, Buffer.from([0, 255])]])];
      await outbox.transaction(() => send.with({ headers: { ção: 'a "text"\n' }, ...key })(...args));
      await outbox.idle();
      await outbox.relay();
      expect(seen).toEqual([args]);
      expect(failures).toEqual([]);
    });

    it("looks at a payload that is read late", async () => {
      const ids = await save(strategy, [`${LONG}1`, `2${LONG}`]);
      await tamper(ids[1]!, { payload: JSON.stringify([`3${LONG}`]) });
      const { outbox } = open(strategy);
      expect(await outbox.relay()).toMatchObject({ published: 1, failed: 1 });
      expect(ran).toEqual([`pay ${LONG.slice(0, 20)}`]);
      expect(decoded).toHaveLength(1);
    });

    it("changes its key without stopping a call, and refuses those of a key that was dropped", async () => {
      await save(strategy, ["by old"], [KEY]);
      await save(strategy, ["by new"], [NEW_KEY, KEY]);
      const old = open(strategy, [KEY]);
      expect(await old.outbox.relay()).toMatchObject({ published: 1, failed: 1 });
      expect(ran).toEqual(["pay by old"]);
      // A process that knows the key mends what one without it met.
      expect(await open(strategy, [KEY, NEW_KEY]).outbox.relay()).toMatchObject({ published: 1 });
      expect(ran).toEqual(["pay by old", "pay by new"]);
      await save(strategy, ["by dropped"], [KEY]);
      expect(await open(strategy, [NEW_KEY]).outbox.relay()).toMatchObject({ published: 0, failed: 1 });
    });

    it("is switched on over unsigned calls by allowUnsigned, which lets no wrong signature through", async () => {
      await save(strategy, ["unsigned 1"], []);
      expect(await open(strategy).outbox.relay()).toMatchObject({ published: 0, failed: 1 });
      expect((await outboxes.rows())[0]!.lastError).toContain("is not signed");
      await save(strategy, ["unsigned 2"], []);
      expect(await countUnsigned()).toBe(2);
      const [wrong] = await save(strategy, ["wrong", "right"]);
      await tamper(wrong!, { payload: '["tampered"]' });
      const signing = { keys: [KEY], allowUnsigned: true };
      const { outbox, pay } = open(strategy, [], { signing });
      expect(await outbox.relay()).toMatchObject({ published: 3, failed: 1 });
      expect(ran.sort()).toEqual(["pay right", "pay unsigned 1", "pay unsigned 2"]);
      expect(await outboxes.rows()).toMatchObject([{ id: wrong }]);
      expect(await countUnsigned()).toBe(0);
      await outbox.close();
      const { id } = await outboxes.knex.transaction((trx) => pay.in(trx)("signed by now"));
      expect(await signatureOf(id)).toMatch(/^1\.[\w-]{43}$/);
    });

    it("is off where it is not asked for: signed calls run unlooked at, new ones are not signed", async () => {
      const [id] = await save(strategy, ["first"]);
      await tamper(id!, { payload: '["other"]' });
      expect(await open(strategy, []).outbox.relay()).toMatchObject({ published: 1 });
      expect(ran).toEqual(["pay other"]);
      expect(await signatureOf((await save(strategy, ["second"], []))[0]!)).toBeNull();
    });
  });

  it("gives up a call that stays refused as its retry policy says, and keeps it", async () => {
    const [id] = await save("publish-on-commit", ["first"]);
    await tamper(id!, { payload: '["other"]' });
    const { outbox } = open("publish-on-commit", [KEY], { retry: { initialDelay: 0, maxAttempts: 2 } });
    const dead: unknown[] = [];
    outbox.on("dead", ({ error }) => void dead.push(error));
    expect(await outbox.relay()).toMatchObject({ failed: 1 });
    expect(await outbox.relay()).toMatchObject({ dead: 1 });
    expect(dead).toEqual([expect.any(SignatureError)]);
    expect(await outboxes.rows()).toMatchObject([{ id, state: "dead", attempts: 2 }]);
  });

  it("blocks the key of a refused keep-order call, says why, and lets nothing of the key overtake it", async () => {
    const { outbox, pay } = open("keep-order");
    const blocked: unknown[] = [];
    outbox.on("blocked", ({ error }) => void blocked.push(error));
    const ids: string[] = [];
    await outbox.transaction(async () => {
      for (const text of ["a1", "a2", "b1"]) ids.push((await pay.with({ orderingKey: text[0]! })(text)).id);
    });
    await tamper(ids[0]!, { payload: '["a9"]' });
    expect(await outbox.relay()).toMatchObject({ published: 1, failed: 1, blockedCount: 1 });
    expect(await outbox.relay()).toMatchObject({ published: 0, failed: 1, blockedCount: 1 });
    expect(ran).toEqual(["pay b1"]);
    expect(blocked[0]).toBeInstanceOf(SignatureError);
    await tamper(ids[0]!, { payload: '["a1"]' });
    expect(await outbox.relay()).toMatchObject({ published: 2 });
    expect(ran).toEqual(["pay b1", "pay a1", "pay a2"]);
  });

  it('signs what persist: "on-failure" stores late: what failed, and what found no slot', async () => {
    const { outbox } = open("publish-on-commit", [KEY], { concurrency: 1, persist: "on-failure" });
    const opened = gate();
    let runs = 0;
    const send = outbox.saveToOutbox(
      async (text: string) => {
        runs += 1;
        await opened.promise;
        if (runs === 1) throw new Error("not yet");
        ran.push(text);
      },
      { name: "send" },
    );
    const ids = await outbox.transaction(async () => [await send("failed"), await send("without a slot")]);
    await until("the one without a slot is stored", async () => (await outboxes.rows()).length === 1);
    opened.resolve();
    await outbox.idle();
    await until("both ran", async () => (await outbox.relay()) && ran.length === 2);
    expect(failures.map(({ id, error }) => [id, (error as Error).message])).toEqual([[ids[0]!.id, "not yet"]]);
    expect(ran.sort()).toEqual(["failed", "without a slot"]);
  });

  it.skipIf(engine.dialect === "pg")("refuses an id in other letters, where the table can hold it", async () => {
    const [id] = await save("publish-on-commit", ["first"]);
    await tamper(id!, { id: id!.toUpperCase() });
    expect(await open("publish-on-commit").outbox.relay()).toMatchObject({ published: 0, failed: 1 });
  });
});
