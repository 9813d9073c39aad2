import { randomBytes } from "node:crypto";
import type { DueStream } from "../store/due-streams.js";

/** Tells a stream's strategies apart. */
export function keyOf({ strategy, stream }: DueStream): string {
  return `${strategy} ${stream}`;
}

/** Any stream may have something new. */
export const EVERYTHING = "*";

/** What outboxes tell each other. The longest is far below the 8,000 bytes that a NOTIFY may have: names end at 200 characters. */
export class Messages {
  /** Of this outbox: it has woken itself before. */
  readonly #sender = randomBytes(9).toString("base64url");

  hasNew(stream: DueStream): string {
    return `${this.#sender} ${keyOf(stream)}`;
  }

  /** @returns the stream, `EVERYTHING` where that is all that is known, undefined where it comes from this outbox itself */
  read(message: string): DueStream | typeof EVERYTHING | undefined {
    const [, sender, strategy, stream] = /^(\S+) (\S+) (.+)$/s.exec(message) ?? [];
    if (sender === this.#sender) return undefined;
    const isKnown = stream !== undefined && (strategy === "keep-order" || strategy === "publish-on-commit");
    return isKnown ? { strategy, stream } : EVERYTHING;
  }
}
