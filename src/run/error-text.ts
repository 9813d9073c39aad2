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

/** What is left of a text in every encoding. */
export function plainText(text: string): string {
  return text.replace(/[^\t\n\x20-\x7e]/gu, "?");
}
