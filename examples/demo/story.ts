import assert, { AssertionError } from "node:assert/strict";
import { isatty } from "node:tty";
import { stripVTControlCharacters } from "node:util";
import picocolors from "picocolors";

const isTerminal = isatty(1);

/** Paints nothing where the output is no terminal (picocolors alone would, where CI is set), or NO_COLOR is. */
export const paint = picocolors.createColors(isTerminal && picocolors.isColorSupported);

export type Cell = string | number;

const WIDTH = 80;
const MARGIN = "  ";

/** A claim of the demo that did not hold. */
export class FalseClaimError extends Error {
  override readonly name = "FalseClaimError";
}

/** Tells the demo in a terminal, and claims nothing that it has not checked. */
export class Story {
  #chapters = 0;
  #where = "before its first chapter";
  #claims = 0;
  #isMeanwhile = false;

  /** Where in the demo we are, for a message. */
  get where(): string {
    return this.#where;
  }

  get claims(): number {
    return this.#claims;
  }

  title(text: string): void {
    this.#print(`\n${MARGIN}${paint.bold(paint.inverse(` ${text} `))}`);
  }

  chapter(title: string): void {
    this.#chapters += 1;
    this.#where = `in chapter ${this.#chapters}, "${title}"`;
    const heading = `${this.#chapters}  ${title}`;
    const rule = "─".repeat(WIDTH - MARGIN.length - heading.length - 1);
    this.#print(`\n\n${MARGIN}${paint.bold(paint.cyan(heading))} ${paint.dim(rule)}`);
  }

  say(text: string, look: (text: string) => string = String): void {
    this.#print(`\n${look(wrap(text, MARGIN))}`);
  }

  code(...lines: string[]): void {
    this.#print(`\n${lines.map((line) => `${MARGIN}${MARGIN}${paint.yellow(line)}`).join("\n")}`);
  }

  /** Numbers, with or without a unit, stand on the right of their column. */
  table(headings: readonly string[], rows: readonly (readonly Cell[])[]): void {
    const columns = headings.map((heading, column) => {
      const cells = rows.map((row) => stripVTControlCharacters(String(row[column] ?? "")));
      return {
        width: Math.max(...[heading, ...cells].map((cell) => cell.length)),
        isNumeric: cells.every((cell) => /^[\d.]+( ms)?$/.test(cell)),
      };
    });
    const line = (cells: readonly Cell[]): string => {
      const padded = columns.map(({ width, isNumeric }, column) => {
        const cell = String(cells[column] ?? "");
        const padding = " ".repeat(width - stripVTControlCharacters(cell).length);
        return isNumeric ? padding + cell : cell + padding;
      });
      return `${MARGIN}${MARGIN}${padded.join("   ")}`.trimEnd();
    };
    this.#print(`\n${[paint.dim(line(headings)), ...rows.map(line)].join("\n")}\n`);
  }

  /** Says `text` if `actual` is what was `expected`. @throws {FalseClaimError} otherwise */
  claim(text: string, actual: unknown, expected: unknown): void {
    try {
      assert.deepEqual(actual, expected);
    } catch (error) {
      if (!(error instanceof AssertionError)) throw error;
      throw new FalseClaimError(`It is not so: "${text}"\n${error.message}`, { cause: error });
    }
    this.#claims += 1;
    this.#print(wrap(text, `${MARGIN}${paint.green("✓")} `, `${MARGIN}  `));
  }

  /** What goes on until the next line, for who watches. */
  meanwhile(text: string): void {
    if (!isTerminal) return;
    process.stdout.write(`${this.#isMeanwhile ? ERASE_LINE : "\n"}${MARGIN}${paint.dim(text)}`);
    this.#isMeanwhile = true;
  }

  #print(text: string): void {
    process.stdout.write(`${this.#isMeanwhile ? `${ERASE_LINE}${LINE_UP}` : ""}${text}\n`);
    this.#isMeanwhile = false;
  }
}

const ERASE_LINE = "\r\u001b[K";
const LINE_UP = "\u001b[A";

function wrap(text: string, first: string, others = first): string {
  const room = WIDTH - stripVTControlCharacters(first).length;
  const lines: string[] = [];
  for (const word of text.trim().split(/\s+/)) {
    const longer = lines.length === 0 ? word : `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && longer.length <= room) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines.map((line, index) => `${index === 0 ? first : others}${line}`).join("\n");
}
