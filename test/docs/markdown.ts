import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));

/** A Markdown file of the repository, cut at its headings. What stands before the first one is a section without. */
export interface Page {
  /** Relative to the repository. */
  file: string;
  sections: Section[];
}

export interface Section {
  heading: string;
  /** What a link to the heading ends with, as GitHub makes it. */
  anchor: string;
  /** All but what stands between fences. */
  text: string;
  fences: Fence[];
  tables: Row[][];
}

export interface Fence {
  language: string;
  code: string;
  /** Where the code begins in the file, from 1. */
  line: number;
}

/** Cells by the titles of their columns. */
export type Row = Readonly<Record<string, string>>;

/** The repository's own Markdown files. */
export function pageFiles(): string[] {
  return readdirSync(root, { recursive: true, encoding: "utf8" }).filter(
    (file) => file.endsWith(".md") && !/(^|\/)(node_modules|dist|coverage|\.\w+)\/|^docs\/api\//.test(file),
  );
}

export function readPage(file: string): Page {
  const sections: Section[] = [];
  let lines: string[] = [];
  let fence: { language: string; line: number } | undefined;
  const begin = (heading: string) => {
    const repetitions = sections.filter((section) => section.heading === heading).length;
    const anchor = `${slug(heading)}${repetitions > 0 ? `-${repetitions}` : ""}`;
    sections.push({ heading, anchor, text: "", fences: [], tables: [] });
  };
  begin("");
  for (const [index, line] of readFileSync(join(root, file), "utf8").split("\n").entries()) {
    const section = sections.at(-1)!;
    const mark = /^\s*```(\w*)/.exec(line);
    if (mark && fence) {
      section.fences.push({ ...fence, code: lines.join("\n") });
      fence = undefined;
    } else if (mark) {
      fence = { language: mark[1]!, line: index + 2 };
      lines = [];
    } else if (fence) {
      lines.push(line);
    } else if (/^#+ /.test(line)) {
      begin(line.replace(/^#+ /, "").trim());
    } else {
      section.text += `${line}\n`;
    }
  }
  for (const section of sections) section.tables = tablesOf(section.text);
  return { file, sections };
}

/** @throws Error where the page has no such heading */
export function sectionOf(page: Page, heading: string): Section {
  const section = page.sections.find((one) => one.heading === heading);
  if (!section) throw new Error(`${page.file} has no heading "${heading}"`);
  return section;
}

/** The one table below a heading whose first column has this title. */
export function tableOf(page: Page, heading: string, firstColumn: string): Row[] {
  const tables = sectionOf(page, heading).tables.filter(([row]) => Object.keys(row ?? {})[0] === firstColumn);
  if (tables.length === 1) return tables[0]!;
  throw new Error(`${page.file} has ${tables.length} tables of "${firstColumn}" below "${heading}"`);
}

/** The text of a cell that is nothing but code; undefined for any other. */
export function codeOf(cell: string): string | undefined {
  return /^`([^`]+)`$/.exec(cell)?.[1];
}

function slug(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .replaceAll(" ", "-");
}

function tablesOf(text: string): Row[][] {
  return Array.from(text.matchAll(/(?:^\|.*\|[ \t]*\n)+/gm), ([table]) => {
    const [titles, , ...rows] = table.trim().split("\n").map(cellsOf);
    return rows.map((cells) => Object.fromEntries(titles!.map((title, column) => [title, cells[column] ?? ""])));
  });
}

function cellsOf(line: string): string[] {
  return line
    .trim()
    .slice(1, -1)
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replaceAll("\\|", "|"));
}
