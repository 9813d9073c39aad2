import { readdirSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { beforeAll, describe, expect, it } from "vitest";
import { migrations } from "../../migrations/list.js";
import type { MigrationNames } from "../../migrations/migration.js";
import { compile } from "./compiler.js";
import { codeOf, readPage, root, type Row, sectionOf, tableOf } from "./markdown.js";

const page = readPage("docs/states.md");
const machines = ["publish-on-commit calls", "keep-order calls", "An ordering key", "A stream"];
const makers = ["save", "commit", "relay", "settle", "cleaner", "person", "time", "crash"];

describe("docs/states.md", () => {
  let program: ts.Program;
  beforeAll(() => {
    const store = readdirSync(join(root, "src/store")).map((file) => join(root, "src/store", file));
    program = compile([join(root, "src/types.ts"), ...store]);
  }, 120_000);

  it("has every state in which a call is shown, and stored", () => {
    const rows = tableOf(page, "A call", "state");
    expect(firstColumn(rows)).toEqual(membersOf(program, "src/types/stored-calls.ts", "CallState"));
    const stored = rows.flatMap((row) => inBacktick(row["the row in `carteiro_calls`"]!, /`state` is `(\w+)`/g));
    expect([...new Set(stored)].sort()).toEqual(choicesOf("calls"));
  });

  it("has every state of a key that stands aside", () => {
    const states = firstColumn(tableOf(page, "An ordering key", "state"));
    expect(states).toEqual(membersOf(program, "src/store/serve-stream.ts", "KeyState"));
    expect(states).toEqual(choicesOf("keys"));
  });

  it("names columns that the tables have", () => {
    const columns = [...tableStatements().matchAll(/^ *(?:add column )?(\w+) /gm)].map(([, column]) => column);
    const named = [
      ...firstColumn(tableOf(page, "A call", "column")),
      ...inBacktick(sectionOf(page, "A stream").text, /`(\w+_\w+|holder|epoch|fence)`/g),
    ].filter((name) => !name.startsWith("carteiro_"));
    expect(named.length).toBeGreaterThan(15);
    expect(named.filter((name) => !columns.includes(name))).toEqual([]);
  });

  it.each(machines)("draws what its table lists: %s", (heading) => {
    const [diagram] = sectionOf(page, heading).fences.filter(({ language }) => language === "mermaid");
    const arrows = [...diagram!.code.matchAll(/^ *(\S+) --> (\S+?)(?::|$)/gm)].map(([, from, to]) => edge(from!, to!));
    const listed = tableOf(page, heading, "from").map(({ from, to }) => edge(from!, to!));
    expect([...new Set(arrows)].sort()).toEqual([...new Set(listed)].sort());
  });

  it("leaves no state without a way in and a way out", () => {
    for (const [heading, states] of [
      ["publish-on-commit calls", ["pending", "due", "running", "sent", "dead"]],
      ["keep-order calls", ["pending", "due", "blocked", "waiting", "parked", "sent", "dead"]],
      ["A stream", firstColumn(tableOf(page, "A stream", "state"))],
    ] as const) {
      const rows = tableOf(page, heading, "from");
      expect([...new Set(rows.map(({ to }) => to))].filter((to) => to !== "gone").sort()).toEqual([...states].sort());
      expect([...new Set(rows.map(({ from }) => from))].filter((from) => from !== "new").sort()).toEqual(
        [...states].sort(),
      );
    }
  });

  it.each(machines)("names makers that are there: %s", (heading) => {
    const functions = storeFunctions(program);
    for (const { who, by } of tableOf(page, heading, "from")) {
      expect(makers).toEqual(expect.arrayContaining(who!.split(", ")));
      const named = inBacktick(by!, /`(\w+)`/g);
      expect(functions).toEqual(expect.arrayContaining(named));
      expect(named.length > 0).toBe(who !== "time" && who !== "crash");
    }
  });
});

/** Where a thing begins, and ends, a diagram has a dot. */
function edge(from: string, to: string): string {
  const dot = (name: string) => (["[*]", "new", "gone", "in line"].includes(name) ? "[*]" : name);
  return `${dot(from)} --> ${dot(to)}`;
}

function firstColumn(rows: readonly Row[]): string[] {
  return rows.map((row) => codeOf(Object.values(row)[0]!)!).sort();
}

function inBacktick(text: string, pattern: RegExp): string[] {
  return Array.from(text.matchAll(pattern), ([, found]) => found!);
}

/** The members of a union of texts, sorted. */
function membersOf(program: ts.Program, file: string, name: string): string[] {
  const source = program.getSourceFile(join(root, file))!;
  const found = source.statements.find((one) => ts.isTypeAliasDeclaration(one) && one.name.text === name);
  const type = program.getTypeChecker().getTypeAtLocation(found!);
  return (type as ts.UnionType).types.map((member) => (member as ts.StringLiteralType).value).sort();
}

function storeFunctions(program: ts.Program): string[] {
  return program
    .getSourceFiles()
    .filter(({ fileName }) => fileName.startsWith(join(root, "src/store")))
    .flatMap(({ statements }) => statements.flatMap((one) => (ts.isFunctionDeclaration(one) ? [one.name!.text] : [])));
}

/** What MySQL lets stand in a table's column `state`, as the last migration left it. */
function choicesOf(table: "calls" | "keys"): string[] {
  const ofTable = new RegExp(`table (?:if not exists )?${table}\\b[^;]*?\\bstate enum\\(([^)]*)\\)`, "g");
  const [, choices] = [...tableStatements().matchAll(ofTable)].at(-1)!;
  return inBacktick(choices!, /'(\w+)'/g).sort();
}

function tableStatements(): string {
  const names: MigrationNames = {
    ...{ calls: "calls", keys: "keys", streams: "streams", writers: "writers" },
    ...{ schema: undefined, prefix: "", index: (name) => name, writerSlots: 1 },
  };
  return migrations
    .flatMap(({ up }) => up.mysql(names))
    .map((statement) => (typeof statement === "string" ? statement : statement.sql))
    .join(";\n");
}
