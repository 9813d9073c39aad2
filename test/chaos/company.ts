import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { now } from "./journal.js";
import type { WorkerTask } from "./worker.js";

/** One life of a process: after its death another one takes its post. */
export interface Life {
  role: WorkerTask["role"];
  pid: number;
  journal: string;
  log: string;
  /** When it had ended, on the machine's monotonic clock. */
  diedAt: number;
  isFrozen: boolean;
  /** From when to when it was, on the same clock. */
  freezes: { from: number; to: number }[];
  /** It ended, and nobody had killed it. */
  fault: string | undefined;
  child: ChildProcess;
}

type Post = Omit<WorkerTask, "journal" | "seed">;

/** The processes of the application. Whoever is killed is replaced at once. */
export class Company {
  readonly lives: Life[] = [];
  readonly #folder: string;
  readonly #seed: number;
  #isClosing = false;
  readonly #killed = new Set<ChildProcess>();
  readonly #ended = new Set<Promise<unknown>>();

  constructor(folder: string, seed: number) {
    this.#folder = folder;
    this.#seed = seed;
  }

  get alive(): Life[] {
    return this.lives.filter(({ child }) => isAlive(child));
  }

  /** Resolves when the process is about to work. */
  async hire(post: Post): Promise<void> {
    const number = this.lives.length;
    const journal = join(this.#folder, `${number}-${post.role}.jsonl`);
    const log = join(this.#folder, `${number}-${post.role}.log`);
    const task: WorkerTask = { ...post, journal, seed: this.#seed + number };
    const output = openSync(log, "a");
    closeSync(openSync(journal, "a"));
    const child = fork(fileURLToPath(new URL("worker.ts", import.meta.url)), [JSON.stringify(task)], {
      execArgv: ["--import", "tsx"],
      stdio: ["ignore", output, output, "ipc"],
    });
    closeSync(output);
    const life: Life = {
      ...{
        role: post.role,
        pid: child.pid!,
        journal,
        log,
        diedAt: Infinity,
        isFrozen: false,
        freezes: [],
        fault: undefined,
        child,
      },
    };
    this.lives.push(life);
    const ended = once(child, "exit").then(([code, signal]) => {
      life.diedAt = now();
      this.#ended.delete(ended);
      if (!this.#killed.has(child) && code !== 0) {
        life.fault = `${post.role} ${number} ended by itself (${signal ?? code}):\n${readFileSync(log, "utf8").slice(-2000)}`;
      }
      if (!this.#isClosing) void this.hire(post);
    });
    this.#ended.add(ended);
    await Promise.race([once(child, "message"), ended]);
  }

  kill({ child }: Life): void {
    this.#killed.add(child);
    child.kill("SIGKILL");
  }

  /** SIGSTOP, and SIGCONT later: by a process of its own, so that nobody stays frozen should this one end. */
  async freeze(life: Life, ms: number): Promise<void> {
    life.isFrozen = true;
    const frozen = { from: now(), to: Infinity };
    life.freezes.push(frozen);
    const script = `kill -STOP ${life.pid} && sleep ${ms / 1000}; kill -CONT ${life.pid}`;
    const freezer = spawn("/bin/sh", ["-c", script], { stdio: "ignore" });
    await once(freezer, "exit");
    life.isFrozen = false;
    frozen.to = now();
  }

  /** Asks those with this role to stop. @returns those that had to be killed, because they did not */
  async dismiss(role: WorkerTask["role"], deadlineMs: number): Promise<Life[]> {
    this.#isClosing = true;
    const asked = this.alive.filter((life) => life.role === role);
    const gone = Promise.all(asked.map(async ({ child }) => isAlive(child) && once(child, "exit")));
    for (const { child } of asked) child.send("stop");
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([gone, new Promise((resolve) => (timer = setTimeout(resolve, deadlineMs)))]);
    clearTimeout(timer);
    const stuck = asked.filter(({ child }) => isAlive(child));
    for (const life of stuck) this.kill(life);
    await gone;
    return stuck;
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    for (const life of this.alive) this.kill(life);
    await Promise.all(this.#ended);
  }
}

function isAlive(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}
