import type { PGlite } from "@electric-sql/pglite";
import type { Knex } from "knex";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createPGliteKnex } from "../../src/pglite.js";
import { createPGlite } from "../support/pglite.js";

const firstUuid = "11111111-1111-4111-8111-111111111111";
const secondUuid = "22222222-2222-4222-8222-222222222222";

let pglite: PGlite;
let db: Knex;

beforeAll(async () => {
  pglite = await createPGlite();
  db = createPGliteKnex(pglite);
});

afterAll(async () => {
  await db.destroy();
  await pglite.close();
});

async function valueOf(sql: string, ...bindings: unknown[]): Promise<unknown> {
  const { rows } = await db.raw<{ rows: { value: unknown }[] }>(
    `select ${sql} as value`,
    bindings as Knex.RawBinding[],
  );
  return rows[0]!.value;
}

describe("values that PGlite answers", () => {
  const localDay = new Date(2024, 1, 29);
  it.each<[sql: string, value: unknown]>([
    ["7::int2", 7],
    ["-7::int4", -7],
    ["9223372036854775807", "9223372036854775807"],
    ["1::int8", "1"],
    ["count(*)", "1"],
    ["1.50::numeric", "1.50"],
    ["'NaN'::float8", NaN],
    ["1.5::float4", 1.5],
    ["true", true],
    ["null", null],
    [`'${firstUuid}'::uuid`, firstUuid],
    ["'2024-02-29 12:34:56.123456+00'::timestamptz", new Date("2024-02-29T12:34:56.123Z")],
    ["'2024-02-29 00:00:00'::timestamp", localDay],
    ["'2024-02-29'::date", localDay],
    ["'infinity'::timestamptz", Infinity],
    ["'12:34:56'::time", "12:34:56"],
    [`'{"a":[1,null]}'::json`, { a: [1, null] }],
    [`'"text"'::jsonb`, "text"],
    ["'\\x00ff'::bytea", Buffer.from([0, 255])],
    ["'{1,NULL}'::int[]", [1, null]],
    ["'{{1,2},{3,4}}'::int[]", [[1, 2], [3, 4]]], // prettier-ignore
    ["'{9223372036854775807}'::int8[]", ["9223372036854775807"]],
    [`'{"a b","c,\\"d\\"","e\\\\f",NULL,"NULL",""}'::text[]`, ["a b", 'c,"d"', "e\\f", null, "NULL", ""]],
    [`'{${firstUuid}}'::uuid[]`, [firstUuid]],
    ["array['\\x01']::bytea[]", [Buffer.from([1])]],
    [`array['{"a":1}']::jsonb[]`, [{ a: 1 }]],
    ["'(1,2)'::point", { x: 1, y: 2 }],
  ])("reads %s", async (sql, value) => {
    expect(await valueOf(sql.replaceAll("?", "\\?"))).toEqual(value);
  });

  it("gives rows as arrays, and by other parsers, where a query asks for it", async () => {
    const asArrays = db.raw("select 1 as a, 2 as a").options({ rowMode: "array" });
    expect(await asArrays).toMatchObject({ rows: [[1, 2]] });
    const types = { getTypeParser: (typeId: number) => (text: string) => `${typeId}:${text}` };
    expect(await db.raw("select 1::int8 as a").options({ types })).toMatchObject({ rows: [{ a: "20:1" }] });
  });
});

describe("bindings", () => {
  const moment = new Date("2024-05-05T03:04:05.678Z");
  it.each<[sql: string, binding: unknown, value: unknown]>([
    ["?::text", "ü😀 'quoted'", "ü😀 'quoted'"],
    ["?::text", "", ""],
    ["?::text", null, null],
    ["?::int", 5, 5],
    ["?::float8", 1.5e300, 1.5e300],
    ["?::bigint", 9007199254740993n, "9007199254740993"],
    ["?::numeric", "1.10", "1.10"],
    ["?::boolean", false, false],
    ["?::bytea", Buffer.from([0, 1, 255]), Buffer.from([0, 1, 255])],
    ["?::bytea", new Uint8Array([9, 1, 2]).subarray(1), Buffer.from([1, 2])],
    ["?::bytea", Buffer.alloc(0), Buffer.alloc(0)],
    ["?::timestamptz", moment, moment],
    ["?::timestamp", moment, moment],
    ["?::date", new Date(2024, 4, 5, 23, 59), new Date(2024, 4, 5)],
    ["?::timestamptz", new Date(Date.UTC(12024, 1, 1)), new Date(Date.UTC(12024, 1, 1))],
    ["(?::timestamptz at time zone 'UTC')::text", new Date(Date.UTC(-43, 2, 15)), "0044-03-15 00:00:00 BC"],
    ["?::json", { a: [1, { b: "x" }] }, { a: [1, { b: "x" }] }],
    ["?::jsonb", "[1,2]", [1, 2]],
    [
      "?::text[]",
      ["a", 'b"c', "d\\e", null, "", "NULL", "{}", "x,y"],
      ["a", 'b"c', "d\\e", null, "", "NULL", "{}", "x,y"],
    ],
    ["?::int[]", [], []],
    ["?::int[]", [[1, 2], [3, null]], [[1, 2], [3, null]]], // prettier-ignore
    ["?::bool[]", [true, false, null], [true, false, null]],
    ["?::jsonb[]", [{ a: 'q"\\' }], [{ a: 'q"\\' }]],
    ["?::bytea[]", [Buffer.from([0, 92, 255])], [Buffer.from([0, 92, 255])]],
    ["?::timestamptz[]", [moment, null], [moment, null]],
    ["2 = any(?)", [1, 2], true],
    ["'c'::text = any(?)", ["a", "b"], false],
    ["2::bigint = any(?)", ["1", 2n], true],
    [`'${firstUuid}'::uuid = any(?)`, [secondUuid, firstUuid], true],
    ["'\\x01ff'::bytea = any(?)", [Buffer.from([1, 255])], true],
    ["?::text", { toPostgres: (prepare: (value: unknown) => unknown) => prepare([1]) }, '{"1"}'],
  ])("sends %s with %o", async (sql, binding, value) => {
    expect(await valueOf(sql, binding)).toEqual(value);
  });

  it("takes many columns at once out of arrays", async () => {
    const { rows } = await db.raw<{ rows: unknown[] }>("select * from unnest(?::bigint[], ?::uuid[]) as u (a, b)", [
      ["1", "2"],
      [firstUuid, secondUuid],
    ] as unknown as Knex.RawBinding[]);
    expect(rows).toEqual([
      { a: "1", b: firstUuid },
      { a: "2", b: secondUuid },
    ]);
  });

  it("takes megabytes", async () => {
    const text = "é".repeat(2_000_000);
    expect(await valueOf("?::text", text)).toBe(text);
    expect(await valueOf("length(?::bytea)", Buffer.alloc(3_000_000))).toBe(3_000_000);
  });

  it("takes as many as the protocol can count, and says so of more", async () => {
    const within = Array.from({ length: 65_535 }, (_, index) => index);
    const quiet = createPGliteKnex(pglite, { compileSqlOnError: false });
    const isAmong = (values: number[]) =>
      quiet.raw<{ rows: unknown[] }>(`select 5 in (${values.map(() => "?").join()}) as a`, values);
    expect((await isAmong(within)).rows).toEqual([{ a: true }]);
    await expect(isAmong([...within, 1])).rejects.toThrow("has 65536 bindings, and PostgreSQL takes at most 65535");
    await quiet.destroy();
  });

  it.each<[what: string, binding: unknown, message: string]>([
    ["an invalid date", new Date(NaN), "invalid Date"],
    ["a toPostgres that leads to itself", Object.assign({}, { toPostgres() { return this; } }), "toPostgres() returned the object itself"], // prettier-ignore
    ["NUL in a text", "a\0b", "invalid byte sequence"],
  ])("refuses %s, and the connection goes on", async (_what, binding, message) => {
    await expect(valueOf("?::text", binding)).rejects.toThrow(message);
    expect(await valueOf("1")).toBe(1);
  });
});
