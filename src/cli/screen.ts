import { createInterface } from "node:readline";
import colors from "picocolors";
import { cut } from "./text.js";

type Output = Pick<NodeJS.WriteStream, "write" | "on"> & { isTTY?: boolean } & Partial<
    Pick<NodeJS.WriteStream, "columns" | "hasColors">
  >;

export interface ScreenParts {
  /** Questions are asked only where it and `stdout` are a terminal. (Default: nobody answers) */
  stdin?: NodeJS.ReadableStream & { isTTY?: boolean };
  stdout: Output;
  stderr: Output;
  env: NodeJS.ProcessEnv;
}

export type Colors = ReturnType<typeof colors.createColors>;

const ERASE_LINE = "\r\x1b[K";

/** What a command prints: results and what happens on stdout, warnings and errors on stderr. */
export class Screen {
  /** stdout is a terminal whose lines can be rewritten. */
  readonly isTerminal: boolean;
  /** None where stdout is no terminal, or `NO_COLOR` is set. */
  readonly colors: Colors;
  /** Somebody sits before it who can answer. */
  readonly canAsk: boolean;
  readonly #stdin: ScreenParts["stdin"];
  readonly #stdout: Output;
  readonly #stderr: Output;
  #status = "";

  constructor({ stdin, stdout, stderr, env }: ScreenParts) {
    this.#stdin = stdin;
    this.#stdout = stdout;
    this.#stderr = stderr;
    this.isTerminal = stdout.isTTY === true && env["TERM"] !== "dumb";
    this.canAsk = this.isTerminal && stdin?.isTTY === true;
    this.colors = colors.createColors(this.isTerminal && stdout.hasColors?.() === true);
    // Whoever read the output may have gone (`| head`); the runs in flight go on.
    for (const output of [stdout, stderr]) output.on("error", () => undefined);
  }

  /** Characters on a line of the terminal; Infinity where there is none. */
  get width(): number {
    return this.isTerminal ? this.#stdout.columns || 80 : Infinity;
  }

  /** A result. */
  print(text: string): void {
    this.#above(this.#stdout, text);
  }

  /** Something that happened, with the time where this is no terminal but a log. */
  log(text: string): void {
    this.#above(this.#stdout, this.isTerminal ? text : `${new Date().toISOString()} ${text}`);
  }

  warn(text: string): void {
    this.#above(this.#stderr, text);
  }

  /** Shows a line below all others, in the place of the one before; an empty one takes it away. Only on a terminal. */
  status(line: string): void {
    if (!this.isTerminal || (line === "" && this.#status === "")) return;
    this.#status = cut(line, this.width - 1);
    this.#stdout.write(ERASE_LINE + this.#status);
  }

  /** Asks on the terminal. @returns the line that was typed; an empty one where the input has ended */
  async ask(question: string): Promise<string> {
    if (!this.#stdin) return "";
    this.#stdout.write(question);
    for await (const line of createInterface({ input: this.#stdin })) return line;
    this.#stdout.write("\n");
    return "";
  }

  /** Resolves when all that was printed has left the process. */
  async flush(): Promise<void> {
    for (const output of [this.#stdout, this.#stderr]) {
      await new Promise<void>((resolve) => output.write("", () => resolve()));
    }
  }

  #above(output: Output, text: string): void {
    if (this.#status !== "") this.#stdout.write(ERASE_LINE);
    output.write(`${text}\n`);
    if (this.#status !== "") this.#stdout.write(this.#status);
  }
}
