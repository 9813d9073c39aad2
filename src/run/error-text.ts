const MAX_LENGTH = 4000;

/** An error as it is stored: no NUL (PostgreSQL refuses it), no half of a surrogate pair, of bounded length. */
export function errorText(error: unknown): string {
  return describe(error).replaceAll("\0", "\u2400").slice(0, MAX_LENGTH).toWellFormed();
}

function describe(error: unknown): string {
  try {
    // Anything can stand where an error's stack belongs.
    const stack: unknown = error instanceof Error ? error.stack : undefined;
    if (typeof stack === "string") return stack;
    if (error instanceof Error) return `${error.name}: ${error.message}`;
    return typeof error === "string" ? error : `thrown: ${JSON.stringify(error) ?? String(error)}`;
  } catch {
    return "an error that could not be described";
  }
}

/**
 * A database may refuse the text of an error, for a character that its encoding does not know.
 *
 * @param part carries the text, where there is one
 * @param whole what is written, with `part` in its place
 * @returns what to write, and then, if that is refused, the same with the text made plain
 */
export function withPlainError<Part extends object, Whole>(part: Part, whole: (part: Part) => Whole): Whole[] {
  const { error } = part as { error?: string };
  return [whole(part), ...(error === undefined ? [] : [whole({ ...part, error: plainText(error) })])];
}

/** What is left of a text in every encoding. */
function plainText(text: string): string {
  return text.replace(/[^\t\n\x20-\x7e]/gu, "?");
}
