import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import ts from "typescript";
import { beforeAll, describe, expect, it } from "vitest";
import { compile } from "./compiler.js";
import { root } from "./markdown.js";

const entries = ["src/index.ts", "src/pglite.ts", "migrations/index.ts"].map((file) => join(root, file));
/** The files whose types are public member by member. */
const declaring = [
  "errors.ts",
  "outbox.ts",
  "pglite.ts",
  ...readdirSync(join(root, "src/types"), "utf8").map((file) => `types/${file}`),
].map((file) => join(root, "src", file));
/** Where the classes of members are that only group others. */
const grouping = join(root, "src/operator");
/** Interfaces that users fill in: what may be left out says what happens then. */
const OPTIONS = /Options$|^PerCall$|^RetrySchedule$/;

interface Public {
  name: string;
  comment: string;
  isOption: boolean;
}

describe("what is public", () => {
  let all: Public[];
  beforeAll(() => {
    const program = compile(entries);
    all = entries.flatMap((file) => publicOf(program.getTypeChecker(), program.getSourceFile(file)!));
  }, 120_000);

  it("is looked at", () => {
    expect(all.map(({ name }) => name)).toEqual(
      expect.arrayContaining([
        "createOutbox",
        "OutboxOptions.lease",
        "Outbox.relay",
        "Outbox.calls.list",
        "Outbox.keys.skipHead",
        "OutboxEvents.dead",
        "UnserializableArgumentError.path",
        "createPGliteKnex",
        "up",
      ]),
    );
    expect(all.filter(({ isOption }) => isOption).length).toBeGreaterThan(40);
  });

  it("has a comment, down to each option, method, event and error", () => {
    expect(all.filter(({ comment }) => comment === "").map(({ name }) => name)).toEqual([]);
  });

  it("says its default where it may be left out", () => {
    const silent = all.filter(({ isOption, comment }) => isOption && !comment.includes("(Default: "));
    expect(silent.map(({ name }) => name)).toEqual([]);
  });
});

function publicOf(checker: ts.TypeChecker, entry: ts.SourceFile): Public[] {
  const describe = (name: string, symbol: ts.Symbol, isOption: boolean): Public => {
    return { name, isOption, comment: ts.displayPartsToString(symbol.getDocumentationComment(checker)) };
  };
  const membersOf = (name: string, symbol: ts.Symbol): Public[] => {
    const type = checker.getDeclaredTypeOfSymbol(symbol);
    return type.getProperties().flatMap((member) => {
      if (!isOurs(member)) return [];
      const isOption = OPTIONS.test(name) && (member.flags & ts.SymbolFlags.Optional) !== 0;
      const grouped = groupOf(checker, member).map((inner) =>
        describe(`${name}.${member.name}.${inner.name}`, inner, false),
      );
      return [describe(`${name}.${member.name}`, member, isOption), ...grouped];
    });
  };
  const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(entry)!);
  return exported.flatMap((one) => {
    const symbol = (one.flags & ts.SymbolFlags.Alias) !== 0 ? checker.getAliasedSymbol(one) : one;
    if (isInternal(symbol)) return [];
    return [describe(one.name, symbol, false), ...membersOf(one.name, symbol)];
  });
}

/** Of a member that only groups others, such as `outbox.calls`. */
function groupOf(checker: ts.TypeChecker, member: ts.Symbol): ts.Symbol[] {
  const type = checker.getTypeOfSymbol(member);
  const isGroup = type.symbol?.declarations?.some((one) => dirname(one.getSourceFile().fileName) === grouping) ?? false;
  return isGroup ? type.getProperties().filter(isNamed) : [];
}

function isNamed(symbol: ts.Symbol): boolean {
  const name = symbol.valueDeclaration && ts.getNameOfDeclaration(symbol.valueDeclaration);
  return !(name && ts.isPrivateIdentifier(name));
}

function isOurs(symbol: ts.Symbol): boolean {
  return (symbol.declarations ?? []).some((declaration) => {
    const name = ts.getNameOfDeclaration(declaration);
    return declaring.includes(declaration.getSourceFile().fileName) && !(name && ts.isPrivateIdentifier(name));
  });
}

function isInternal(symbol: ts.Symbol): boolean {
  return symbol.getJsDocTags().some((tag) => tag.name === "internal");
}
