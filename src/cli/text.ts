/** On one line, and without control characters: stored texts may carry what would steer a terminal. */
export function oneLine(text: string): string {
  return text.replace(/[\s\p{Cc}]+/gu, " ").trim();
}

/** What steers a terminal, or turns the direction of what is read. */
const STEERING = /[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** With its lines kept, and what could steer a terminal shown as an escape. */
export function harmless(text: string): string {
  return text
    .replaceAll("\r\n", "\n")
    .replaceAll("\t", "  ")
    .replace(STEERING, (one) => (one === "\n" ? one : escaped(one)));
}

/** Indented JSON: of the control characters that `JSON.stringify` leaves alone, some steer a terminal too. */
export function json(value: unknown): string {
  const text = JSON.stringify(value, null, 2);
  return text.replace(STEERING, (one) => (one === "\n" ? one : escaped(one)));
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

const segmenter = new Intl.Segmenter("en", { granularity: "grapheme" });
const WIDE = /\p{Emoji_Presentation}|\p{scx=Han}|\p{scx=Hiragana}|\p{scx=Katakana}|\p{scx=Hangul}/u;

/** The columns that a line takes on a terminal. */
export function widthOf(line: string): number {
  return graphemes(line).reduce((width, grapheme) => width + widthOfOne(grapheme), 0);
}

/** At most so many columns of a line, the last one an ellipsis where something was cut. */
export function cut(line: string, width: number): string {
  if (widthOf(line) <= width) return line;
  let kept = "";
  let left = width - 1;
  for (const grapheme of graphemes(line)) {
    left -= widthOfOne(grapheme);
    if (left < 0) break;
    kept += grapheme;
  }
  return `${kept}…`;
}

function graphemes(line: string): string[] {
  return Array.from(segmenter.segment(line), ({ segment }) => segment);
}

function widthOfOne(grapheme: string): number {
  return WIDE.test(grapheme) ? 2 : 1;
}

/** `stream "orders"`. */
export function streamText(stream: string): string {
  return `stream "${oneLine(stream)}"`;
}

/** Words for an ordering key of a stream, and for its calls without one. */
export function keyText(stream: string, orderingKey = ""): string {
  const key = orderingKey === "" ? "the calls without a key" : `the key "${oneLine(orderingKey)}"`;
  return `${key} of ${streamText(stream)}`;
}

/** `2026-11-20T13:00:00Z` */
export function seconds(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, "Z");
}

/** What follows is the stack. */
export function firstLine(text: string): string {
  return text.split("\n", 1)[0]!;
}

const LONGEST_ERROR = 120;

/** The first line of a call's last error, for a row or a sentence. */
export function errorText(lastError: string): string {
  return cut(oneLine(firstLine(lastError)), LONGEST_ERROR);
}

/** `1 call`, `2 calls`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
