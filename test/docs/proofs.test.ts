import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { codeOf, readPage, root } from "./markdown.js";

const guarantees = readPage("docs/guarantees.md").sections.filter(({ heading }) => /^\d+\. /.test(heading));

describe("the proofs that docs/guarantees.md names", () => {
  it("are given for each guarantee", () => {
    const numbers = guarantees.map(({ heading }) => Number.parseInt(heading, 10));
    expect(numbers).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(guarantees.filter(({ tables }) => !tables.some(isOfProofs)).map(({ heading }) => heading)).toEqual([]);
  });

  it.each(guarantees)("are tests that are there: $heading", ({ tables }) => {
    const proofs = tables.filter(isOfProofs).flat();
    const missing = proofs.filter(({ file, test }) => !titlesOf(codeOf(file!)!).some((title) => title.includes(test!)));
    expect(missing.map(({ file, test }) => `${file}: ${test}`)).toEqual([]);
  });

  it("are seen to be missing where they are", () => {
    expect(titlesOf("test/nowhere.test.ts")).toEqual([]);
    expect(titlesOf("test/docs/proofs.test.ts")).not.toContain("a title that no test has");
  });
});

function isOfProofs([row]: readonly object[]): boolean {
  return row !== undefined && "proven" in row;
}

/** The texts that stand where a title does: first in a call, or on a line of their own. */
function titlesOf(file: string): string[] {
  const path = join(root, file);
  if (!existsSync(path)) return [];
  const texts = readFileSync(path, "utf8").matchAll(/(?:^\s*|[\w)]\()(["'`])((?:(?!\1).)*)\1,/gm);
  return Array.from(texts, ([, , title]) => title!);
}
