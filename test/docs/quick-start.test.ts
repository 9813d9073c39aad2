import { execFile } from "node:child_process";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Fence, readPage, root, sectionOf } from "./markdown.js";

const { fences, text } = sectionOf(readPage("README.md"), "Quick start");
const [program, output] = fences as [Fence, Fence];

describe("the README's quick start", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "carteiro-quick-start-"));
    await symlink(join(root, "node_modules"), join(folder, "node_modules"), "dir");
    await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: { paths: source } }));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it("is a program, and what it prints", () => {
    expect(fences.map(({ language }) => language)).toEqual(["ts", "text"]);
    expect(text).toContain("npx tsx quick-start.mts");
  });

  it("prints what the README shows, when it is run as the README says", { timeout: 120_000 }, async () => {
    await writeFile(join(folder, "quick-start.mts"), program.code);
    const env = { PATH: process.env.PATH, TSX_TSCONFIG_PATH: join(folder, "tsconfig.json") };
    const args = ["--import", import.meta.resolve("tsx"), "quick-start.mts"];
    const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: folder, env });
    expect(stderr).toBe("");
    expect(stdout.trimEnd()).toBe(output.code);
  });
});

/** The package by its name is its source here, whatever was built before. */
const source = {
  carteiro: [join(root, "src/index.ts")],
  "carteiro/pglite": [join(root, "src/pglite.ts")],
};
