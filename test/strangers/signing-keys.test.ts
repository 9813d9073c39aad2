import { createHmac, createSecretKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { inspect } from "node:util";
import knexFactory from "knex";
import { describe, expect, it } from "vitest";
import { createOutbox, InvalidOptionError, SignatureError } from "../../src/index.js";
import { resolveSigning } from "../../src/signing.js";
import type { CallContent } from "../../src/store/stored-call.js";
import { caught } from "../saving/oddities.js";

const KEY = "k".repeat(32);

const call: CallContent = {
  id: "0190b5a8-5d3c-7000-8000-000000000001",
  functionName: "sendReceipt",
  stream: "orders",
  strategy: "keep-order",
  orderingKey: Buffer.from([0xff, 0x00]),
  codec: "superjson",
  version: 2,
  headers: '{"tenant":"São"}',
};
const signed = (content: CallContent, payload: string, key = KEY) =>
  resolveSigning({ keys: [key] })!.sign(content, payload);

describe("a signature", () => {
  it("stays the same from release to release", () => {
    const fields = ["1", call.id, "sendReceipt", "orders", "keep-order", "\xff\0", "superjson", "2"];
    const bytes = [
      ...fields.map((field) => Buffer.from(field, "latin1")),
      Buffer.from('{"json":["ção"]}'),
      Buffer.from(call.headers),
    ];
    const message = Buffer.concat(
      bytes.flatMap((field) => [Buffer.from(Uint32Array.of(field.length).buffer).reverse(), field]),
    );
    const expected = `1.${createHmac("sha256", KEY).update(message).digest("base64url")}`;
    expect(signed(call, '{"json":["ção"]}')).toBe(expected);
    expect(expected).toBe("1.F98gna-TH-azQHhG4LTxriiNFTJCQoxl6Tp8pxcn2UI");
  });

  const fields = ["id", "functionName", "stream", "strategy", "orderingKey", "codec", "version", "payload", "headers"];
  const withFields = (texts: Record<string, string>) => {
    const { payload = "payload", orderingKey = "key", ...rest } = texts;
    return signed({ ...call, ...rest, orderingKey: Buffer.from(orderingKey) }, payload);
  };

  it.each(fields)("is another one where the %s is another one", (field) => {
    expect(withFields({ [field]: "a" })).not.toBe(withFields({ [field]: "A" }));
    expect(withFields({ [field]: "a" })).toBe(withFields({ [field]: "a" }));
  });

  it.each(fields.flatMap((one) => fields.filter((other) => other !== one).map((other) => [one, other] as const)))(
    "is another one where a byte has moved between %s and %s",
    (one, other) => {
      expect(withFields({ [one]: "a", [other]: "ab" })).not.toBe(withFields({ [one]: "aa", [other]: "b" }));
    },
  );

  it("is that of every form of one key", () => {
    const bytes = Buffer.from(KEY);
    const forms = [KEY, bytes, new Uint8Array(bytes), createSecretKey(bytes)];
    const all = forms.map((key) => resolveSigning({ keys: [key] })!.sign(call, "payload"));
    expect(new Set(all).size).toBe(1);
  });

  it("keeps its key although the caller's bytes change", () => {
    const bytes = Buffer.from(KEY);
    const signing = resolveSigning({ keys: [bytes] })!;
    bytes.fill(0);
    expect(signing.sign(call, "payload")).toBe(signed(call, "payload"));
  });

  it.each([
    ["none", undefined],
    ["an empty one", ""],
    ["the format alone", "1."],
    ["a part of it", signed(call, "payload").slice(0, -1)],
    ["more than it", `${signed(call, "payload")} `],
    ["one of another format", signed(call, "payload").replace("1.", "2.")],
    ["its digest alone", signed(call, "payload").slice(2)],
    ["another letter case", signed(call, "payload").toLowerCase()],
    ["another text as long", `1.${"é".repeat(21)}A`],
    ["one by another key", signed(call, "payload", "o".repeat(32))],
  ])("is refused where it is %s", (_what, signature) => {
    const signing = resolveSigning({ keys: [KEY] })!;
    const error = caught(() =>
      signing.verify({ ...call, ...(signature === undefined ? {} : { signature }) }, "payload"),
    );
    expect(error).toBeInstanceOf(SignatureError);
    expect(error).toMatchObject({ code: "CARTEIRO_SIGNATURE", name: "SignatureError" });
    expect((error as Error).message).toMatch(new RegExp(`^call ${call.id} of sendReceipt .* It was not run$`));
    expect((error as Error).message).toMatch(signature === undefined ? /is not signed/ : /does not match/);
  });
});

describe("signing", () => {
  const knex = knexFactory({ client: "pg" });
  const secret = "this is a secret";
  const pair = generateKeyPairSync("ed25519");

  it.each<[string, unknown]>([
    ["signing", secret],
    ["signing", [secret.repeat(3)]],
    ["signing", null],
    ["signing", 5],
    ["key", { key: secret.repeat(3) }],
    ["signing.keys", {}],
    ["signing.keys", { keys: secret.repeat(3) }],
    ["signing.keys", { keys: [] }],
    ["signing.keys", { keys: { 0: secret.repeat(3) } }],
    ["signing.keys[0]", { keys: [""] }],
    ["signing.keys[0]", { keys: [secret] }],
    ["signing.keys[0]", { keys: ["s".repeat(31)] }],
    ["signing.keys[1]", { keys: [KEY, Buffer.from(secret)] }],
    ["signing.keys[1]", { keys: [KEY, createSecretKey(Buffer.from(secret))] }],
    ["signing.keys[0]", { keys: [pair.privateKey] }],
    ["signing.keys[0]", { keys: [pair.publicKey] }],
    ["signing.keys[1]", { keys: [KEY, null] }],
    ["signing.keys[1]", { keys: [KEY, undefined] }],
    ["signing.keys[0]", { keys: [[secret.repeat(3)]] }],
    ["signing.keys[0]", { keys: [new Float64Array(8)] }],
    ["signing.keys[0]", { keys: [{ secret }] }],
    ["signing.allowUnsigned", { keys: [KEY], allowUnsigned: 1 }],
  ])("is refused, and no key shown: %s", (option, signing) => {
    const error = caught(() => createOutbox({ knex, ...({ signing } as object) }));
    expect(error).toBeInstanceOf(InvalidOptionError);
    expect((error as InvalidOptionError).option).toBe(option);
    expect(inspect(error)).not.toContain(secret);
  });

  it("takes a key of 32 bytes, also of fewer characters", () => {
    expect(() => createOutbox({ knex, signing: { keys: ["é".repeat(16), randomBytes(32)] } })).not.toThrow();
  });

  it("shows no key where the outbox is printed", async () => {
    const outbox = createOutbox({ knex, signing: { keys: [secret.repeat(3), Buffer.from(secret.repeat(4))] } });
    const shown = inspect(outbox, { depth: 10, showHidden: true });
    expect(shown).not.toContain(secret);
    expect(shown).not.toContain(Buffer.from(secret).toString("hex").slice(0, 12));
    await outbox.close();
  });
});
