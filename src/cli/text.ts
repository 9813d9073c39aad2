/** On one line, and without control characters: stored texts may carry what would steer a terminal. */
export function oneLine(text: string): string {
  return text.replace(/[\s\p{Cc}]+/gu, " ").trim();
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

/** `1 call`, `2 calls`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
