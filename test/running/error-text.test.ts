import { expect, it } from "vitest";
import { errorText } from "../../src/run/error-text.js";

class Refusal extends Error {
  override name = "Refusal";
}

it.each<[what: string, error: unknown, text: string]>([
  ["a text", "no luck", "no luck"],
  ["nothing", undefined, "thrown: undefined"],
  ["a plain object", { code: 5 }, 'thrown: {"code":5}'],
  ["a symbol", Symbol("odd"), "thrown: Symbol(odd)"],
  ["a bigint, which JSON refuses", 5n, "an error that could not be described"],
  ["an error without a stack", Object.assign(new Refusal("no"), { stack: undefined }), "Refusal: no"],
  ["an error whose stack is no text", Object.assign(new Refusal("no"), { stack: 5 }), "Refusal: no"],
  ["a NUL", "a\0b", "a\u2400b"],
  ["half a surrogate pair", "a\ud800b", "a\ufffdb"],
  ["a pair that the end of the text would cut", `${"x".repeat(3999)}🙂`, `${"x".repeat(3999)}\ufffd`],
  ["much text", "x".repeat(100_000), "x".repeat(4000)],
])("describes %s", (_what, error, text) => {
  expect(errorText(error)).toBe(text);
});

it("shows an error's stack", () => {
  expect(errorText(new Refusal("no"))).toMatch(/^Error: no\n|^Refusal: no\n/);
});

it("does not fail over what throws when it is looked at", () => {
  const trap = new Proxy(new Error("trap"), {
    get() {
      throw new Error("do not look");
    },
  });
  expect(errorText(trap)).toBe("an error that could not be described");
});
