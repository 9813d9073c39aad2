import { describe, expect, it } from "vitest";
import { jsonOf, textOf } from "../../src/cli/decoded.js";
import { harmless, json } from "../../src/cli/text.js";

class Money {
  readonly amount = 5n;
}

describe("decoded arguments", () => {
  it("are printed as Node.js would", () => {
    const args = [
      new Date(0),
      new Set([1n]),
      { a: undefined, b: [NaN, -0] },
      new URL("https://a.b/c"),
      /x/g,
      new Uint8Array(2),
    ];
    expect(textOf(args).split("\n")).toEqual([
      "[0] 1970-01-01T00:00:00.000Z",
      "[1] Set(1) { 1n }",
      "[2] { a: undefined, b: [ NaN, -0 ] }",
      "[3] 'https://a.b/c'",
      "[4] /x/g",
      "[5] [ 0, 0 ]",
    ]);
  });

  it("are JSON where that has a form for them, and texts and arrays elsewhere", () => {
    const error = Object.assign(new TypeError("no", { cause: new Date(0) }), { status: 5 });
    const args = [
      new Date(0),
      new Date(NaN),
      10n,
      NaN,
      -Infinity,
      -0,
      undefined,
      new Map([[{ a: 1n }, new Set([2])]]),
      /x/g,
    ];
    expect(jsonOf([...args, new URL("https://a.b/c"), new Uint8Array(2), new Money(), error])).toEqual([
      "1970-01-01T00:00:00.000Z",
      "Invalid Date",
      "10",
      "NaN",
      "-Infinity",
      "-0",
      null,
      [[{ a: "1" }, [2]]],
      "/x/g",
      "https://a.b/c",
      [0, 0],
      { amount: "5" },
      { name: "TypeError", message: "no", cause: "1970-01-01T00:00:00.000Z", status: 5 },
    ]);
  });

  it("never steer the terminal", () => {
    const hostile = "\u001b[2J\u009b31m\u202e";
    const args = [hostile, { [hostile]: 1 }, new Error(hostile), new Map([[hostile, hostile]])];
    const steering = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/;
    expect(textOf(args)).not.toMatch(steering);
    const text = json(jsonOf(args));
    expect(text).not.toMatch(steering);
    expect(JSON.parse(text)).toEqual(jsonOf(args));
    expect(harmless(`a\r\n\tb${hostile}`)).toBe("a\n  b\\u001b[2J\\u009b31m\\u202e");
  });

  it("are cut where they are large, and the text says so", () => {
    const deep = Array.from({ length: 100 }).reduce<unknown>((inner) => [inner], "deep");
    for (const large of ["x".repeat(5000), Array.from({ length: 5000 }).fill(1), new Uint8Array(5000), deep]) {
      const text = textOf([large]);
      expect(text.length).toBeLessThan(25_000);
      expect(text).toMatch(/…[\s\S]*\n\(… stands for what was cut: --json shows it\)$/);
      const [whole] = jsonOf([large]);
      expect(JSON.stringify(whole)).not.toContain("…");
    }
    expect(textOf(["x".repeat(2000)])).not.toContain("…");
  });

  it("end where they are circular, or shared without end", () => {
    const circular: unknown[] = [];
    circular.push(circular);
    expect(textOf([circular])).toBe("[0] [ '[circular]' ]");
    expect(jsonOf([circular, circular])).toEqual([["[circular]"], ["[circular]"]]);
    const shared = Array.from({ length: 100 }).reduce<unknown>((inner) => [inner, inner, inner], 1);
    expect(textOf([shared]).length).toBeLessThan(200_000);
    expect(JSON.stringify(jsonOf([shared]))).toContain("…");
  });
});
