import { expect, test } from "vitest";
import type { NewCall } from "../../src/store/insert-calls.js";
import { describeEachEngine } from "../support/databases.js";
import { aCall, inLine, insert, useStore } from "./support.js";

/** Stored payloads above `max_allowed_packet` would cut the connection; 4 MiB of text may double as it is escaped. */
const LARGEST_STATEMENT = 6 * 1024 * 1024;

const AWKWARD = [
  "ação ☃ 🙂 𝒜 e\u0301",
  `it's "quoted" \`ticked\` \\ \\\\ back \\' \\" slashed`,
  "? ?? \\? $1 $2 :name %s %% {} ; -- /* */ #",
  "\\u0000 \\x00 \\n",
  "line\nfeed\r\ttab \u0001 \u007f \u2028 \u2029 \ufeff \u00a0",
];

describeEachEngine("inserting calls", (engine) => {
  const under = useStore(engine);
  const stored = async (): Promise<NewCall[]> =>
    (await under.rows()).map((row) => ({
      id: row.id,
      functionName: row.functionName,
      stream: row.stream,
      strategy: row.strategy as NewCall["strategy"],
      orderingKey: row.orderingKey,
      codec: row.codec,
      version: row.version,
      payload: row.payload,
      headers: row.headers,
      delayMs: 0,
    }));

  test("stores them in the caller's transaction, and nowhere else", async () => {
    const { knex, store, rows } = under;
    const rolledBack = knex.transaction(async (trx) => {
      await store.insert(trx, [aCall(), inLine("a")]);
      const [{ count }] = (await trx.count("* as count").from("carteiro_calls")) as [{ count: number | string }];
      expect(Number(count)).toBe(2);
      throw new Error("the order was refused");
    });
    await expect(rolledBack).rejects.toThrow("the order was refused");
    expect(await rows()).toEqual([]);
    const calls = await insert(under, [aCall(), inLine("a")]);
    expect(await stored()).toEqual(calls);
  });

  test("takes the calls of a rolled back savepoint along, and no other", async () => {
    const { knex, store } = under;
    const [first, second, third] = [inLine("a"), inLine("a"), inLine("a")];
    await knex.transaction(async (trx) => {
      await store.insert(trx, [first]);
      const inner = trx.transaction(async (savepoint) => {
        await store.insert(savepoint, [second]);
        throw new Error("inner");
      });
      await expect(inner).rejects.toThrow("inner");
      await store.insert(trx, [third]);
    });
    expect((await stored()).map(({ id }) => id)).toEqual([first.id, third.id]);
  });

  test("stores nothing for no calls", async () => {
    await insert(under, []);
    await under.store.insertAlone([]);
    expect(await stored()).toEqual([]);
  });

  test("stores a call in a transaction of its own", async () => {
    const calls = [inLine("a"), inLine("b")];
    await under.store.insertAlone(calls);
    expect(await stored()).toEqual(calls);
  });

  test.each(AWKWARD)("keeps every text as it is: %j", async (text) => {
    const name = text.slice(0, 200);
    const call = inLine(text, { functionName: name, stream: name, codec: name, payload: text, headers: text });
    const failed = { ...call, id: aCall().id, failure: { state: "dead" as const, attempts: 3, error: text } };
    await insert(under, [call, failed]);
    const { failure: _, ...likeCall } = failed;
    expect(await stored()).toEqual([call, likeCall]);
    expect(await under.rows()).toMatchObject([
      { state: "pending", attempts: 0, lastError: null },
      { state: "dead", attempts: 3, lastError: text },
    ]);
  });

  test("keeps names of 200 characters of four bytes, and texts far longer than 64 KiB", async () => {
    const name = "🙂".repeat(200);
    const text = JSON.stringify({ note: "ç🙂\\\"'".repeat(40_000) });
    const call = inLine("a", { functionName: name, stream: name, codec: name, payload: text, headers: text });
    await insert(under, [call]);
    expect(await stored()).toEqual([call]);
  });

  test("keeps ordering keys byte by byte", async () => {
    const keys = [
      ...["Cust-a", "cust-A", "cust-a", "cust-a ", " cust-a", "", "ß", "ss", "é", "e\u0301", "🙂"].map((key) =>
        Buffer.from(key),
      ),
      Buffer.alloc(255, "k"),
      Buffer.from([0xff, 0xfe, 0x80, 0x00, 0xc3]),
      Buffer.from([0x5c, 0x78, 0x27, 0x22]),
    ];
    await insert(
      under,
      keys.map((key) => inLine(key)),
    );
    expect((await under.rows()).map((row) => row.orderingKey)).toEqual(keys);
    const [row] = await under.select<{ count: number | string }>(
      `select count(distinct ordering_key) as count from ${under.tables.calls}`,
    );
    expect(Number(row!.count)).toBe(keys.length);
  });

  test("refuses an ordering key of 256 bytes where the column is as short as that", async () => {
    const inserting = insert(under, [inLine(Buffer.alloc(256, "k"))]);
    if (under.dialect.family === "mysql") await expect(inserting).rejects.toMatchObject({ code: "ER_DATA_TOO_LONG" });
    else await inserting;
    expect(await stored()).toHaveLength(under.dialect.family === "mysql" ? 0 : 1);
  });

  test("keeps the order of 2,500 calls given at once", async () => {
    const calls = Array.from({ length: 2500 }, (_, n) => inLine(`key-${n % 700}`, { payload: `[${n}]` }));
    await insert(under, calls);
    expect((await stored()).map(({ id }) => id)).toEqual(calls.map(({ id }) => id));
  });

  test("splits what is too large for one statement, in order", async () => {
    const { knex, store } = under;
    const sizes = [3, 0, 3, 2, 1, 0, 0, 3, 0.5, 3].map((mebibytes) => mebibytes * 1024 * 1024);
    const calls = sizes.map((size, n) => aCall({ payload: `${n}`.repeat(size + 1) }));
    const statements: number[] = [];
    await knex.transaction(async (trx) => {
      trx.on("query", ({ bindings = [] }: { bindings?: unknown[] }) => {
        statements.push(Buffer.byteLength(bindings.join("")));
      });
      await store.insert(trx, calls);
    });
    expect(await stored()).toEqual(calls);
    expect(Math.max(...statements)).toBeLessThan(LARGEST_STATEMENT);
    expect(statements.length).toBeLessThan(sizes.length);
  });

  test("stores a payload of 4 MiB that escaping doubles", async () => {
    const call = aCall({ payload: "\\".repeat(4 * 1024 * 1024) });
    await insert(under, [call]);
    expect((await stored())[0]!.payload === call.payload).toBe(true);
  });

  test("surfaces the database's own errors, without what was stored", async () => {
    const secret = "4111 1111 1111 1111";
    const call = aCall({ payload: secret });
    const isMysql = under.dialect.family === "mysql";
    await insert(under, [call]);
    const duplicate: unknown = await insert(under, [call]).catch((error: unknown) => error);
    expect(duplicate).toMatchObject({ code: isMysql ? "ER_DUP_ENTRY" : "23505" });
    const nulls = aCall({ payload: secret, codec: null as unknown as string });
    const missing: unknown = await under.store.insertAlone([nulls]).catch((error: unknown) => error);
    expect(missing).toMatchObject({ code: isMysql ? "ER_BAD_NULL_ERROR" : "23502" });
    for (const error of [duplicate, missing]) {
      expect(error).toBeInstanceOf(Error);
      const { message, stack, sql } = error as Error & { sql?: string };
      for (const text of [message, stack, sql ?? ""]) expect(text).not.toContain(secret);
      expect(message.length).toBeLessThan(1000);
    }
    expect(await stored()).toEqual([call]);
  });
});
