import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, closeSync, mkdtempSync, openSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Account } from "./account.js";
import { freePort } from "./free-port.js";
import type { StopMode, TestServer } from "./types.js";

const startDeadlineMs = 60_000;
const haltDeadlineMs = 30_000;
const pollMs = 20;

export interface ServerPlan {
  /** As it is called in messages, and in the folder's name. */
  name: string;
  account: Account | undefined;
  /** Fills the data folder, once, and tells which program serves it. */
  initialise(folder: string): Promise<string>;
  args(folder: string, port: number): string[];
  signals: Record<StopMode, NodeJS.Signals>;
  /** Throws until the server answers as the one whose data is in `folder`. */
  probe(folder: string, port: number): Promise<void>;
  /** Log texts of a failed start that is worth another try on the same port, and on another port. */
  tryAgain?: RegExp;
  portTaken: RegExp;
}

/** One server process in a temporary folder, watched by a guardian that cleans up should this process die. */
export class ServerProcess {
  readonly folder: string;
  port = 0;
  readonly #plan: ServerPlan;
  readonly #guardian: ChildProcess;
  #binary = "";
  #child: ChildProcess | undefined;
  #stopped: Promise<void> | undefined;

  private constructor(plan: ServerPlan) {
    this.#plan = plan;
    this.folder = realpathSync(mkdtempSync(join(tmpdir(), `carteiro-${plan.name.toLowerCase()}-`)));
    this.#guardian = spawnGuardian(this.folder);
    if (plan.account) chownSync(this.folder, plan.account.uid, plan.account.gid);
  }

  static async create(plan: ServerPlan): Promise<ServerProcess> {
    const server = new ServerProcess(plan);
    try {
      server.#binary = await plan.initialise(server.folder);
      await server.#startOnFreePort();
      return server;
    } catch (error) {
      await server.stop("immediate");
      throw error;
    }
  }

  get pid(): number | undefined {
    return this.#child && isRunning(this.#child) ? this.#child.pid : undefined;
  }

  async start(): Promise<void> {
    if (this.#stopped) throw new Error(`${this.#plan.name} was stopped for good; its folder is gone.`);
    if (this.pid !== undefined) throw new Error(`${this.#plan.name} is running already (pid ${this.pid}).`);
    const deadline = Date.now() + startDeadlineMs;
    for (;;) {
      try {
        await this.#startOnce(deadline);
        return;
      } catch (error) {
        if (!this.#plan.tryAgain?.test(String(error)) || Date.now() > deadline) throw error;
        await delay(pollMs);
      }
    }
  }

  async halt(mode: StopMode = "fast"): Promise<void> {
    const child = this.#child;
    if (child && isRunning(child)) {
      child.ref();
      const exited = once(child, "exit");
      child.kill(this.#plan.signals[mode]);
      const timer = setTimeout(() => child.kill("SIGKILL"), haltDeadlineMs);
      await exited;
      clearTimeout(timer);
    }
    this.#child = undefined;
    this.#tellGuardian(undefined);
  }

  stop(mode: StopMode = "fast"): Promise<void> {
    this.#stopped ??= this.#stop(mode);
    return this.#stopped;
  }

  /** This process as the tests see it. */
  describe(facts: Pick<TestServer, "flavour" | "version" | "url" | "dataDir">): TestServer {
    const pid = () => this.pid;
    return {
      ...facts,
      port: this.port,
      folder: this.folder,
      get pid() {
        return pid();
      },
      start: () => this.start(),
      halt: (mode) => this.halt(mode),
      restart: async (mode) => {
        await this.halt(mode);
        await this.start();
      },
      kill: () => this.halt("kill"),
      stop: (mode) => this.stop(mode),
    };
  }

  async #stop(mode: StopMode): Promise<void> {
    await this.halt(mode);
    // Backends of a killed PostgreSQL may still be writing: rm retries until the folder stays empty.
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
    this.#guardian.ref();
    const exited = once(this.#guardian, "exit");
    this.#guardian.stdin?.end("done\n");
    await exited;
  }

  async #startOnFreePort(): Promise<void> {
    for (let tries = 1; ; tries++) {
      this.port = await freePort();
      try {
        await this.start();
        return;
      } catch (error) {
        if (tries === 5 || !this.#plan.portTaken.test(String(error))) throw error;
      }
    }
  }

  async #startOnce(deadline: number): Promise<void> {
    const { name, args, account, probe } = this.#plan;
    const logFile = join(this.folder, "server.log");
    rmSync(logFile, { force: true });
    const log = openSync(logFile, "a");
    // In a process group of its own, so that Ctrl-C reaches the test run alone, which then ends its servers in order.
    const child = spawn(this.#binary, args(this.folder, this.port), {
      cwd: this.folder,
      env: { ...process.env, LC_ALL: "C" },
      ...account,
      detached: true,
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    let failure: string | undefined;
    child.once("error", (error) => (failure = error.message));
    child.once("exit", (code, signal) => (failure = `it ended with ${signal ?? `exit code ${code}`}`));
    child.unref();
    this.#child = child;
    this.#tellGuardian(child.pid);

    let lastError: unknown;
    while (failure === undefined && Date.now() < deadline) {
      try {
        await probe(this.folder, this.port);
        return;
      } catch (error) {
        lastError = error;
        await delay(pollMs);
      }
    }
    await this.halt("kill");
    const reason = failure ?? `it did not answer within ${startDeadlineMs / 1000} s: ${String(lastError)}`;
    throw new Error(`${name} (${this.#binary}) did not start: ${reason}\n${endOf(logFile)}`);
  }

  #tellGuardian(pid: number | undefined): void {
    this.#guardian.stdin?.write(`pid ${pid ?? ""}\n`);
  }
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

function spawnGuardian(folder: string): ChildProcess {
  const script = fileURLToPath(new URL("guardian.sh", import.meta.url));
  const guardian = spawn("/bin/sh", [script, folder], { detached: true, stdio: ["pipe", "ignore", "ignore"] });
  guardian.stdin.on("error", () => {});
  guardian.unref();
  (guardian.stdin as unknown as { unref(): void }).unref();
  return guardian;
}

function endOf(logFile: string): string {
  try {
    return readFileSync(logFile, "utf8").split("\n").slice(-20).join("\n");
  } catch {
    return "(no log)";
  }
}
