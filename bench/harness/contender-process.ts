import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Ground, Metrics } from "./types.js";

export type Request =
  | { do: "open"; file: string; ground: Ground; options: unknown }
  | { do: "prepare" }
  | { do: "measure" }
  | { do: "close" };

export type Answer = { metrics: Metrics } | { error: string };

/** A contender in a process of its own, so that its heap, compiled code and collector touch no other's. */
export class ContenderProcess {
  readonly #name: string;
  readonly #child: ChildProcess;

  private constructor(name: string) {
    this.#name = name;
    // From the sources, which run by tsx, as from what is compiled.
    const script = new URL("../../dist/bench/harness/child.js", import.meta.url);
    const compiled = import.meta.url.endsWith(".js") ? new URL("child.js", import.meta.url) : script;
    const { NODE_OPTIONS: _, ...env } = process.env;
    this.#child = fork(fileURLToPath(compiled), { execArgv: ["--expose-gc"], env });
  }

  static async open(name: string, file: string, ground: Ground, options: unknown): Promise<ContenderProcess> {
    const contender = new ContenderProcess(name);
    try {
      await contender.#ask({ do: "open", file, ground, options });
      return contender;
    } catch (error) {
      contender.#child.kill("SIGKILL");
      throw error;
    }
  }

  async prepare(): Promise<void> {
    await this.#ask({ do: "prepare" });
  }

  measure(): Promise<Metrics> {
    return this.#ask({ do: "measure" });
  }

  async close(): Promise<void> {
    const isOver = once(this.#child, "exit");
    try {
      await this.#ask({ do: "close" });
      this.#child.disconnect();
    } catch {
      this.#child.kill("SIGKILL");
    }
    await isOver;
  }

  async #ask(request: Request): Promise<Metrics> {
    const answer = await new Promise<Answer>((resolve) => {
      const ended = (code: number | null, signal: NodeJS.Signals | null) =>
        resolve({ error: `its process ended (${signal ?? `exit code ${code}`})` });
      this.#child.once("exit", ended);
      this.#child.once("message", (message) => {
        this.#child.off("exit", ended);
        resolve(message as Answer);
      });
      this.#child.send(request, (error) => error && resolve({ error: error.message }));
    });
    if ("error" in answer) throw new Error(`${this.#name}, at ${request.do}: ${answer.error}`);
    return answer.metrics;
  }
}
