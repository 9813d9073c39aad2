import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { codeOf, pageFiles, readPage, root, sectionOf, tableOf } from "./markdown.js";

const readme = readPage("README.md");
const { text } = sectionOf(readme, "Command line");
const life = sectionOf(readPage("docs/guarantees.md"), "A call's life");

describe("the README's section on the command line", () => {
  let ofProgram: string;
  /** What `--help` prints, by command. */
  const ofCommands = new Map<string, string>();
  beforeAll(async () => {
    ofProgram = await help();
    const names = Array.from(below("Commands", ofProgram).matchAll(/^ {2}(\w[\w-]*)/gm), ([, name]) => name!);
    await Promise.all(without(names, "help").map(async (name) => ofCommands.set(name, await help(name))));
  }, 120_000);

  it("names every command with the options that its --help shows", () => {
    const documented = tableOf(readme, "Command line", "command").map(({ command, options }) => {
      return [codeOf(command!)!, Array.from(options!.matchAll(/`(--[\w-]+)`/g), ([, flag]) => flag!).sort()] as const;
    });
    const shown = Array.from(ofCommands, ([name, page]) => [name, without(flagsOf(page), "--help")] as const);
    expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(shown));
  });

  it("names the options of every command", () => {
    const sentence = /^All take (.*?)\./m.exec(text)?.[1];
    const documented = Array.from(sentence!.matchAll(/`(--[\w-]+)`/g), ([, flag]) => flag!);
    expect(documented.sort()).toEqual(without(flagsOf(ofProgram), "--version"));
  });

  it("is right about the exit codes and the configuration's names", () => {
    expect(exitCodes(text)).toEqual(exitCodes(ofProgram));
    const extensions = /carteiro\.config\.\{(.*?)\}/.exec(ofProgram)?.[1];
    const documented = text.split("\n").find((line) => line.includes("`carteiro.config.ts`"));
    expect(Array.from(documented!.matchAll(/\.([mc]?[tj]s)`/g), ([, extension]) => extension).join()).toBe(extensions);
  });

  it("and docs/guarantees.md name the states of a call", () => {
    const choices = /choices:([^)]*)\)/.exec(ofCommands.get("list")!)?.[1];
    const [, documented] = /`carteiro list` shows the state of each call: (.*?)\. /.exec(life.text) ?? [];
    const states = Array.from(documented!.replace(/\(.*?\)/g, "").matchAll(/`(\w+)`/g), ([, state]) => state);
    expect(states).toEqual(Array.from(choices!.matchAll(/"(\w+)"/g), ([, state]) => state));
  });

  it("and every other command line in Markdown files, is one that can be typed", () => {
    const lines = pageFiles().flatMap((file) => commandLines(file));
    expect(lines.length).toBeGreaterThan(15);
    expect(lines.flatMap(({ line, name, flags }) => (isKnown(name, flags) ? [] : [line]))).toEqual([]);
    expect([isKnown("relay", ["--loop"]), isKnown("relay", ["--dry-run"]), isKnown("skip-tail", [])]).toEqual([
      true,
      false,
      false,
    ]);
  });

  function isKnown(name: string, flags: readonly string[]): boolean {
    const page = ofCommands.get(name);
    if (page === undefined) return false;
    const known = [...flagsOf(page), ...flagsOf(ofProgram)];
    return flags.every((flag) => known.includes(flag));
  }
});

async function help(...command: string[]): Promise<string> {
  const args = ["--import", import.meta.resolve("tsx"), join(root, "src/cli/main.ts"), ...command, "--help"];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root });
  return stdout;
}

function below(title: string, page: string): string {
  return new RegExp(`^${title}:\n((?: .*\n)*)`, "m").exec(page)?.[1] ?? "";
}

function flagsOf(page: string): string[] {
  return Array.from(below("Options", page).matchAll(/^ +(?:-\w, )?(--[\w-]+)/gm), ([, flag]) => flag!).sort();
}

function exitCodes(page: string): string {
  return /Exit codes: (.*?)\./.exec(page)![1]!;
}

/** Of `carteiro name --flag`, wherever code is shown: `carteiro/pglite` and `carteiro.config.ts` are none. */
function commandLines(file: string): { line: string; name: string; flags: string[] }[] {
  const code = readPage(file).sections.flatMap((section) => [
    ...Array.from(section.text.matchAll(/`([^`\n]+)`/g), ([, span]) => span!),
    ...section.fences.filter(({ language }) => language === "sh").flatMap((fence) => fence.code.split("\n")),
  ]);
  return code.flatMap((line) => {
    const [, name, rest = ""] = /^(?:npx )?carteiro ([a-z-]+)(.*)$/.exec(line) ?? [];
    if (name === undefined) return [];
    return [{ line: `${file}: ${line}`, name, flags: Array.from(rest.matchAll(/(?<=[ [])--[\w-]+/g), String) }];
  });
}

function without(list: readonly string[], one: string): string[] {
  return list.filter((other) => other !== one);
}
