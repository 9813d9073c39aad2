import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import type ts from "typescript";
import { compile, problemsOf } from "./compiler.js";
import { pageFiles, readPage, root } from "./markdown.js";

/** What the snippets take for granted, beside each other's names. */
const given = `
  declare const db: import("knex").Knex;
  declare const outbox: import("carteiro").Outbox;
  declare const createOutbox: typeof import("carteiro").createOutbox;
  declare const createSuperjsonCodec: typeof import("carteiro").createSuperjsonCodec;
  declare const currentCall: typeof import("carteiro").currentCall;
  interface Order { id: string; customerId: string; email: string }
  declare const order: Order;
  declare const sendReceipt: import("carteiro").SavedFunction<[order: Order], Promise<void>>;
  declare function placeOrder(order: Order): Promise<void>;
  declare function receiptText(order: Order, language: string): string;
  declare const createServer: typeof import("node:http").createServer;
  declare const app: import("node:http").RequestListener;
  declare const broker: {
    publish(topic: string, body: unknown, options: { messageId: string; signal: AbortSignal }): Promise<void>;
  };
  declare const mailer: { send(to: string, text: string): Promise<void> };
  declare const pager: { alert(text: string): void };
  declare const histogram: { record(value: number, labels: Record<string, string>): void };
  declare const gauge: { set(name: string, value: number, labels: Record<string, string>): void };
  declare const renderQueue: { add(name: string, data: object, options: { jobId: string }): Promise<void> };
  declare class Temperature { #kelvin: number; static parse(text: string): Temperature }
`;

const folder = join(root, "test/docs/snippets");
const snippets = pageFiles().flatMap((file) =>
  readPage(file)
    .sections.flatMap(({ fences }) => fences)
    .filter(({ language }) => language === "ts")
    .map(({ code, line }) => ({ at: `${file}:${line}`, code, path: fileFor(`${file}:${line}`) })),
);
const wrong = { path: fileFor("wrong"), code: "await sendReceipt(1);" };

function fileFor(at: string): string {
  return join(folder, `${at.replace(/\W/g, "-")}.ts`);
}

describe("the TypeScript in Markdown files", () => {
  let program: ts.Program;
  beforeAll(() => {
    const files = [...snippets, wrong].map(({ path, code }) => [path, `${code}\nexport {};\n`] as const);
    const neighbours = [
      [join(folder, "given.d.ts"), given],
      [join(folder, "outbox.ts"), 'export declare const outbox: import("carteiro").Outbox;'],
      [join(folder, "receipts.ts"), "export {};"],
    ] as const;
    program = compile([], new Map([...files, ...neighbours]));
  }, 120_000);

  it("is looked at in every file", () => {
    const files = new Set(snippets.map(({ at }) => at.split(":")[0]));
    expect([...files]).toEqual(expect.arrayContaining(["README.md", "docs/arguments.md", "docs/running.md"]));
  });

  it.each(snippets)("compiles: $at", ({ path }) => {
    expect(problemsOf(program, path)).toEqual([]);
  });

  it("is seen not to compile where it does not", () => {
    expect(problemsOf(program, wrong.path)).toEqual([expect.stringContaining("not assignable")]);
  });
});
