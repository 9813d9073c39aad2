import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runProgram } from "../support/servers/run-program.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** util-linux' program that gives another one a pseudo-terminal. */
const TERMINAL = "script";

export function hasTerminal(): boolean {
  const { stdout } = spawnSync(TERMINAL, ["--version"], { encoding: "utf8" });
  return stdout?.includes("util-linux") ?? false;
}

interface Manifest {
  dependencies: Record<string, string>;
  peerDependencies: Record<string, string>;
}

/** An application of its own, with the package as npm would install it: compiled from the sources as they are now. */
export interface App {
  readonly folder: string;
  /** Writes a file of the application, over one of the same name. */
  write(name: string, text: string): void;
  read(name: string): string;
  remove(name: string): void;
  /** Runs `carteiro` with these arguments to its end. */
  run(args: string[], env?: Record<string, string>): Promise<Ended>;
  /** Starts `carteiro` with these arguments. */
  start(args: string[], env?: Record<string, string>): Running;
  /** Starts it on a pseudo-terminal. */
  startOnTerminal(args: string[], env?: Record<string, string>): Running;
  close(): void;
}

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface Running {
  readonly process: ChildProcessWithoutNullStreams;
  /** Resolves when it has printed `text`; rejects when it ends without. */
  printed(text: string): Promise<void>;
  readonly ended: Promise<Ended>;
}

/** @param without packages that are not installed */
export async function createApp({ without = [] }: { without?: string[] } = {}): Promise<App> {
  const folder = mkdtempSync(join(tmpdir(), "carteiro-cli-"));
  const running = new Set<Running>();
  const bin = await installPackage(folder, without);
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
  write("package.json", JSON.stringify({ private: true, type: "module" }));
  const start = (program: string, args: string[], env: Record<string, string> = {}) => {
    const { NO_COLOR: _1, FORCE_COLOR: _2, DEBUG: _3, CI: _4, ...inherited } = process.env;
    const one = watch(spawn(program, args, { cwd: folder, env: { ...inherited, TERM: "xterm", ...env } }));
    running.add(one);
    void one.ended.finally(() => running.delete(one));
    return one;
  };
  const app: App = {
    folder,
    write,
    read: (name) => readFileSync(join(folder, name), "utf8"),
    remove: (name) => rmSync(join(folder, name)),
    run: (args, env) => app.start(args, env).ended,
    start: (args, env) => start(process.execPath, [bin, ...args], env),
    startOnTerminal: (args, env) => {
      const command = [process.execPath, bin, ...args].map((one) => `'${one}'`).join(" ");
      return start(TERMINAL, ["--quiet", "--return", "--command", command, "/dev/null"], env);
    },
    close() {
      for (const { process } of running) process.kill("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return app;
}

/** @returns the package's command */
async function installPackage(folder: string, without: string[]): Promise<string> {
  const installed = join(folder, "node_modules/carteiro");
  const compiler = join(root, "node_modules/typescript/bin/tsc");
  const options = ["--noCheck", "--declaration", "false", "--outDir", join(installed, "dist")];
  await runProgram(process.execPath, [compiler, "-p", join(root, "tsconfig.build.json"), ...options]);
  cpSync(join(root, "bin"), join(installed, "bin"), { recursive: true });
  cpSync(join(root, "package.json"), join(installed, "package.json"));
  const { dependencies, peerDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest;
  for (const name of [...Object.keys(dependencies), ...Object.keys(peerDependencies)]) {
    if (without.includes(name)) continue;
    const link = join(folder, "node_modules", name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(root, "node_modules", name), link, "junction");
  }
  return join(installed, "bin/carteiro.js");
}

function watch(process: ChildProcessWithoutNullStreams): Running {
  const output = { stdout: "", stderr: "" };
  const lookers = new Set<() => void>();
  for (const name of ["stdout", "stderr"] as const) {
    process[name].setEncoding("utf8").on("data", (chunk: string) => {
      output[name] += chunk;
      for (const look of lookers) look();
    });
  }
  // It may be gone before it has read all that it was given.
  process.stdin.on("error", () => {});
  const ended = new Promise<Ended>((resolve, reject) => {
    process.once("error", reject);
    process.once("close", (code) => resolve({ code, ...output }));
  });
  return {
    process,
    ended,
    printed: (text) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (!output.stdout.includes(text) && !output.stderr.includes(text)) return;
          lookers.delete(look);
          resolve();
        };
        lookers.add(look);
        look();
        void ended.then((end) => reject(new Error(`it ended without "${text}": ${JSON.stringify(end)}`)), reject);
      }),
  };
}
