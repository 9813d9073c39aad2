import { describe, expect, it } from "vitest";
import { decodePayload, encodeArguments } from "../../src/codec.js";
import { UndecodablePayloadError, UnserializableArgumentError } from "../../src/errors.js";
import { type Codec } from "../../src/types.js";
import { refusalOf } from "./support.js";

const json: Codec = {
  name: "json",
  encode: (args) => JSON.stringify(args),
  decode: (text) => JSON.parse(text) as unknown[],
};

const failure = new Error("out of ink");
const fail = () => {
  throw failure;
};

describe("encodeArguments with a codec of the user's", () => {
  it("stores its text", () => {
    expect(encodeArguments(json, [{ a: 1 }])).toBe('[{"a":1}]');
  });

  it("leaves the judgement of arguments to it", () => {
    expect(encodeArguments(json, [() => 1])).toBe("[null]");
  });

  const wrong: readonly [name: string, codec: object, problem: string, cause?: unknown][] = [
    ["fails to encode", { encode: fail }, "could not encode them: out of ink", failure],
    ["fails to decode", { decode: fail }, "could not decode what it encoded: out of ink", failure],
    ["throws no error", { encode: () => throwing("ink") }, "it threw a string", "ink"],
    ["throws null", { encode: () => throwing(null) }, "it threw null", null],
    ["encodes to undefined", { encode: () => undefined }, "encoded them to undefined instead of a string"],
    ["encodes to bytes", { encode: () => Buffer.from("[]") }, "encoded them to Uint8Array instead of a string"],
    ["encodes later", { encode: async () => "[]" }, "encoded them to Promise instead of a string"],
    ["encodes to a NUL", { encode: () => '["\0"]' }, "encoded them to text with a NUL character"],
    ["encodes to a lone surrogate", { encode: () => '["\ud800"]' }, "encoded them to text with a lone surrogate"],
    ["decodes to no array", { decode: () => ({ length: 1 }) }, "decoded its own text to Object instead of an array"],
    ["decodes later", { decode: async () => [1] }, "decoded its own text to Promise instead of an array"],
    ["loses an argument", { decode: () => [] }, "decoded its own text of 1 arguments to 0"],
  ];

  it.each(wrong)("that %s", (_name, part, problem, cause) => {
    const refusal = refusalOf(["x"], { ...json, ...part });
    expect(refusal.path).toBe("args");
    expect(refusal.message).toContain("args cannot be stored: the codec json ");
    expect(refusal.message).toContain(problem);
    expect(refusal.cause).toBe(cause);
  });

  it("takes pairs of surrogates", () => {
    expect(encodeArguments(json, ["📦"])).toBe('["📦"]');
  });

  it("passes on a refusal that names its own path", () => {
    const refusal = new UnserializableArgumentError("args[3].x", "is too blue");
    const codec = { ...json, encode: () => throwing(refusal) };
    expect(refusalOf([], codec)).toBe(refusal);
  });
});

describe("decodePayload with a codec of the user's", () => {
  it("gives the arguments", () => {
    expect(decodePayload(json, '[{"a":1}]')).toEqual([{ a: 1 }]);
  });

  const { proxy: unreadable, revoke } = Proxy.revocable({}, {});
  revoke();
  const mute = Object.assign(new Error(), { message: 5 });
  const hostile = Object.assign(Object.create(null) as object, { toString: fail });
  const wrong: readonly [name: string, decode: () => unknown, problem: string, cause?: unknown][] = [
    ["throws", fail, "the codec json could not decode the payload: out of ink", failure],
    ["throws a text", () => throwing("ink"), "it threw a string", "ink"],
    ["throws undefined", () => throwing(undefined), "it threw undefined"],
    ["throws what cannot be text", () => throwing(hostile), "it threw Object", hostile],
    ["throws an error without a text", () => throwing(mute), "it threw Error", mute],
    ["throws what cannot be read", () => throwing(unreadable), "it threw what cannot be read", unreadable],
    ["gives what cannot be read", () => unreadable, "could not decode the payload: Cannot perform"],
    ["gives an object", () => ({}), "decoded the payload to Object instead of an array"],
    ["gives null", () => null, "to null instead"],
    ["gives a text", () => "x", "to a string instead"],
    ["gives a promise", async () => [], "to Promise instead"],
  ];

  it.each(wrong)("that %s", (_name, decode, problem, cause) => {
    const error = caught(() => decodePayload({ ...json, decode: decode as Codec["decode"] }, "[]"));
    expect(error).toBeInstanceOf(UndecodablePayloadError);
    expect((error as Error).message).toContain(problem);
    if (cause !== undefined) expect((error as Error).cause).toBe(cause);
  });
});

function throwing(value: unknown): never {
  throw value;
}

function caught(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}
