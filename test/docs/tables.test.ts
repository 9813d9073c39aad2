import { join } from "node:path";
import { runInNewContext } from "node:vm";
import knex from "knex";
import { afterAll, describe, expect, it } from "vitest";
import type ts from "typescript";
import * as carteiro from "../../src/index.js";
import { resolveFunctionOptions, resolveOptions } from "../../src/options.js";
import { resolveRetry } from "../../src/run/retry.js";
import { compile } from "./compiler.js";
import { codeOf, readPage, type Row, root, sectionOf, tableOf } from "./markdown.js";

const readme = readPage("README.md");
// It never connects: nothing here speaks to a database.
const db = knex({ client: "pg", connection: "postgres://localhost" });
const outbox = carteiro.createOutbox({ knex: db });
afterAll(async () => {
  await outbox.close();
  await db.destroy();
});

describe("the README's tables of options", () => {
  const ofOutbox = tableOf(readme, "Options of createOutbox", "option");
  const ofRetry = tableOf(readme, "Options of createOutbox", "part");
  const ofFunction = tableOf(readme, "Options of saveToOutbox", "option");
  const ofCall = tableOf(readme, "Options per call", "option");
  const work = async () => {};
  const unknown = { nonsense: 1 } as object;

  it("name the options that createOutbox takes, with their defaults", async () => {
    expect(names(ofOutbox)).toEqual(await taken(() => carteiro.createOutbox({ knex: db, ...unknown })));
    expect(withoutLiteral(ofOutbox)).toEqual(["codec", "knex", "logger", "retry", "schema", "signing"]);
    const documented = { knex: db, ...literals(ofOutbox) };
    expect(plain(resolveOptions(documented))).toEqual(plain(resolveOptions({ knex: db })));
  });

  it("name the parts of a retry schedule, with their defaults", async () => {
    expect(names(ofRetry)).toEqual(await taken(() => carteiro.createOutbox({ knex: db, retry: unknown })));
    expect(withoutLiteral(ofRetry)).toEqual(["maxAttempts"]);
    expect(delays(literals(ofRetry))).toEqual(delays({}));
  });

  it("name the options that saveToOutbox takes, with their defaults", async () => {
    expect(names(ofFunction)).toEqual(await taken(() => outbox.saveToOutbox(work, unknown)));
    const settings = resolveOptions({ knex: db });
    // Some are for keep-order alone.
    const resolve = (options: object) =>
      resolveFunctionOptions("work", { strategy: "keep-order", ...options }, settings);
    expect(resolve(literals(ofFunction))).toEqual(resolve({}));
    const inherited = ofFunction.filter((row) => row["default"] === "the outbox's");
    const both = names(ofFunction).filter((name) => names(ofOutbox).includes(name));
    expect(names(inherited)).toEqual(both);
    expect(withoutLiteral(ofFunction)).toEqual(["aliases", "name", "orderingKey", "upcast", ...both].sort());
  });

  it("name the options that a call takes", async () => {
    const save = outbox.saveToOutbox(work, { name: "save" });
    expect(names(ofCall)).toEqual(await taken(() => save.with(unknown)()));
  });

  it("are seen to differ where they do", () => {
    expect(plain(resolveOptions({ knex: db, lease: "59s" }))).not.toEqual(plain(resolveOptions({ knex: db })));
    expect(delays({ maxDelay: "11m" })).not.toEqual(delays({}));
  });

  /** How long a call waits after each of its first attempts, at the ends of its jitter, and when it is given up. */
  function delays(schedule: carteiro.RetrySchedule): (number | false)[] {
    const day = 24 * 60 * 60 * 1000;
    return [0, 0.5, 1].flatMap((random) => {
      const policy = resolveRetry("retry", schedule, () => random);
      const after = (attempt: number, ageMs: number) => policy.delayAfter({ error: new Error(), attempt, ageMs });
      return [
        ...Array.from({ length: 20 }, (_, index) => after(index + 1, 0)),
        after(1, 7 * day - 1),
        after(1, 7 * day),
      ];
    });
  }

  /** Without what cannot be compared. */
  function plain({ retry: _retry, logger: _logger, ...settings }: ReturnType<typeof resolveOptions>): object {
    return settings;
  }
});

describe("the README's table of the outbox", () => {
  const members = tableOf(readme, "The outbox", "member").map((row) => {
    const [, name, options] = /^`([\w.]+)\((?:\{ (.*) \}|.*)\)`$/.exec(row["member"]!) ?? [];
    return { name, options: options?.split(", ").sort() };
  });

  it("names every member", () => {
    const own = Object.entries(outbox).flatMap(([name, member]: [string, object]) =>
      typeof member === "function" ? [name] : Object.keys(member).map((inner) => `${name}.${inner}`),
    );
    expect(members.map(({ name }) => name).sort()).toEqual(own.sort());
  });

  it.each(members.filter(({ options }) => options))("names every option of $name", async ({ name, options }) => {
    const [first, second] = name!.split(".") as [keyof carteiro.Outbox, string?];
    const part = outbox[first] as unknown as Record<string, unknown>;
    const member = (second === undefined ? part : part[second]) as (options: object) => unknown;
    expect(options).toEqual(await taken(() => member({ nonsense: 1 })));
  });
});

describe("the README's table of events", () => {
  const rows = tableOf(readme, "Events", "event");

  it("names every event, with what is in its payload", () => {
    const documented = rows.map(({ event, payload }) => [codeOf(event!), codeOf(payload!)!.split(", ").sort()]);
    expect(Object.fromEntries(documented)).toEqual(payloads());
  });

  it("names what is in a call", () => {
    const listed = /`call` has `([^`]+)`/.exec(sectionOf(readme, "Events").text)?.[1];
    expect(listed?.split(", ").sort()).toEqual(propertiesOf("Call"));
  });
});

describe("the README's table of errors", () => {
  it("names every error with its code", () => {
    const documented = tableOf(readme, "Errors", "error").map((row) => [codeOf(row["error"]!), codeOf(row["code"]!)]);
    const exported = Object.entries(carteiro).flatMap(([name, value]) => {
      if (!(value.prototype instanceof carteiro.CarteiroError)) return [];
      const made = new (value as new (...texts: string[]) => carteiro.CarteiroError)("what", "problem");
      return [[name, made.code]];
    });
    expect(documented.sort()).toEqual(exported.sort());
  });
});

/** What is in the first column, sorted. */
function names(rows: readonly Row[]): string[] {
  return rows.map((row) => codeOf(Object.values(row)[0]!)!).sort();
}

/** The rows whose default is shown as code, evaluated. */
function literals(rows: readonly Row[]): Record<string, unknown> {
  const shown = rows.flatMap((row) => {
    const code = codeOf(row["default"]!);
    return code === undefined ? [] : [[names([row])[0]!, runInNewContext(`(${code})`)] as const];
  });
  return Object.fromEntries(shown);
}

function withoutLiteral(rows: readonly Row[]): string[] {
  return names(rows.filter((row) => codeOf(row["default"]!) === undefined));
}

/** The options that a function names when it refuses one that it does not know, sorted. */
async function taken(use: () => unknown): Promise<string[]> {
  const refused: unknown = await Promise.resolve()
    .then(use)
    .catch((error: unknown) => error);
  const listed = /(?:it knows|a schedule has) (.*)$/.exec((refused as Error).message)?.[1];
  if (listed === undefined) throw new Error("an unknown option was not refused", { cause: refused });
  return listed.split(", ").sort();
}

function typeOf(name: string): { checker: ts.TypeChecker; type: ts.Type } {
  const file = join(root, "src/types.ts");
  const program = compile([file]);
  const checker = program.getTypeChecker();
  const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(file)!)!);
  const found = exported.find((one) => one.name === name);
  if (!found) throw new Error(`src/types.ts exports no ${name}`);
  return { checker, type: checker.getDeclaredTypeOfSymbol(found) };
}

function propertiesOf(name: string): string[] {
  return typeOf(name)
    .type.getProperties()
    .map((property) => property.name)
    .sort();
}

/** What is in the payload of each event. */
function payloads(): Record<string, string[]> {
  const { checker, type } = typeOf("OutboxEvents");
  const events = type.getProperties().map((event) => {
    const payload = checker.getTypeOfSymbol(event).getProperties();
    return [event.name, payload.map((property) => property.name).sort()] as const;
  });
  return Object.fromEntries(events);
}
