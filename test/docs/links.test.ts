import { existsSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, it } from "vitest";
import { pageFiles, readPage, root } from "./markdown.js";

const files = pageFiles();

describe("the links of a Markdown file", () => {
  it("are looked at in every file", () => {
    expect(files).toEqual(expect.arrayContaining(["README.md", "CONTRIBUTING.md", "docs/decisions/README.md"]));
    expect(files.flatMap(linksOf).length).toBeGreaterThan(30);
  });

  it.each(files)("lead to files and headings that are there: %s", (file) => {
    expect(linksOf(file).filter((link) => !leadsSomewhere(file, link))).toEqual([]);
  });

  it("are seen to lead nowhere where they do", () => {
    for (const link of ["docs/nowhere.md", "#nowhere", "docs/guarantees.md#nowhere"])
      expect(leadsSomewhere("README.md", link)).toBe(false);
  });
});

function linksOf(file: string): string[] {
  const prose = readPage(file).sections.map(({ text }) => text.replace(/`[^`\n]*`/g, ""));
  return prose
    .flatMap((text) => Array.from(text.matchAll(/\]\(\s*<?([^)>\s]+)/g), ([, target]) => target!))
    .filter((target) => !/^[a-z][a-z0-9+.-]*:/i.test(target));
}

function leadsSomewhere(from: string, link: string): boolean {
  const [path = "", anchor] = link.split("#");
  const file = path === "" ? from : normalize(join(dirname(from), path));
  if (!existsSync(join(root, file))) return false;
  if (anchor === undefined) return true;
  return file.endsWith(".md") && readPage(file).sections.some((section) => section.anchor === anchor);
}
