import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterEach } from "vitest";
import type { OutboxOptions, RelayResult } from "../../src/index.js";
import type { Outboxes } from "../support/outboxes.js";
import { until } from "../support/waiting.js";

export interface ProcessTask {
  client: "pg" | "mysql2";
  url: string;
  tablePrefix: string;
  options: Pick<OutboxOptions, "lease" | "timeout" | "abandonAfter" | "deleteAfterSend" | "pollInterval" | "retry">;
}

/**
 * How a run goes on after it has begun. `wait`: it waits to be told how to end. `block`: so it does once it has kept the whole
 * process from going on until the file was there.
 */
export type How = { kind: "return" | "fail" | "wait" } | { kind: "block"; untilFile: string };

/** `send` is publish-on-commit; `publish` is keep-order in the stream `orders`, its key the first letter of its label. */
export type FunctionName = "send" | "publish";

export type Command =
  | { do: "clock" }
  | { do: "startRelayer" | "stop" | "idle" }
  | { do: "save"; name: FunctionName; label: string; how: How; delay?: number; runAt?: number }
  /** Moments are milliseconds since 1970. */
  | { do: "relay"; limit?: number; deadline?: number }
  | { do: "clean"; olderThan: string }
  | { do: "finish"; label: string; error?: string };

/** What the process tells: of runs and of the outbox's events. `leaseLost` has the label `send`, or its stream. */
export type ProcessEvent =
  | { kind: "ready" }
  | { kind: "began"; label: string; attempt: number; fence: number }
  | { kind: "aborted"; label: string; reason: string }
  | ({ kind: "published" } & RunEnd)
  | ({ kind: "failed" } & RunEnd)
  | ({ kind: "abandoned" } & RunEnd)
  | { kind: "leaseLost"; label: string }
  | { kind: "reply"; id: number; value?: unknown; error?: string };

interface RunEnd {
  label: string;
  attempt: number;
  /** Moments are milliseconds since 1970. */
  nextAttemptAt?: number | undefined;
  createdAt: number;
}

export interface OutboxProcess {
  /** What it told, replies aside, in order. */
  readonly events: readonly ProcessEvent[];
  /** The labels of the events of a kind, in order. */
  labels(kind: ProcessEvent["kind"]): string[];
  ask(command: Extract<Command, { do: "relay" }>): Promise<RelayResult>;
  ask(command: Extract<Command, { do: "clock" }>): Promise<number>;
  ask(command: Extract<Command, { do: "clean" }>): Promise<{ deleted: number }>;
  ask(command: Command): Promise<void>;
  /** SIGSTOP: nothing of it goes on, and nothing is closed, until `thaw`. */
  freeze(): void;
  /** SIGCONT. */
  thaw(): void;
}

export interface OutboxProcesses {
  /** A process with an outbox on this test's tables, killed when the test ends. */
  start(options: ProcessTask["options"], env?: NodeJS.ProcessEnv): Promise<OutboxProcess>;
}

export function useProcesses(outboxes: Outboxes): OutboxProcesses {
  const children = new Set<ChildProcess>();
  afterEach(async () => {
    await Promise.all([...children].map(kill));
    children.clear();
  });
  return {
    async start(options, env = {}) {
      const { connection } = outboxes.database;
      const task: ProcessTask = { ...connection!, tablePrefix: outboxes.tablePrefix, options };
      const child = fork(fileURLToPath(new URL("lease-process.ts", import.meta.url)), [JSON.stringify(task)], {
        execArgv: ["--import", "tsx"],
        stdio: ["ignore", "ignore", "inherit", "ipc"],
        env: { ...process.env, ...env },
      });
      children.add(child);
      const started = processOf(child);
      await until("the process is ready", () => {
        if (child.exitCode !== null) throw new Error(`the process ended with ${child.exitCode} before it was ready`);
        return started.labels("ready").length === 1;
      });
      return started;
    },
  };
}

function processOf(child: ChildProcess): OutboxProcess {
  const events: ProcessEvent[] = [];
  const replies = new Map<number, (reply: { value?: unknown; error?: string }) => void>();
  let asked = 0;
  child.on("message", (event: ProcessEvent) => {
    if (event.kind === "reply") replies.get(event.id)!(event);
    else events.push(event);
  });
  const labels: OutboxProcess["labels"] = (kind) =>
    events.flatMap((event) => (event.kind === kind ? ["label" in event ? event.label : ""] : []));
  // One answer for each command; the overloads of the interface say which.
  const ask = async (command: Command): Promise<never> => {
    const id = ++asked;
    const replied = new Promise<{ value?: unknown; error?: string }>((resolve) => replies.set(id, resolve));
    child.send({ id, command });
    const { value, error } = await replied;
    if (error !== undefined) throw new Error(error);
    return value as never;
  };
  return { events, labels, ask, freeze: () => void child.kill("SIGSTOP"), thaw: () => void child.kill("SIGCONT") };
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}
