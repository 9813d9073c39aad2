import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

export interface WorkerTask {
  client: "pg" | "mysql2";
  url: string;
  tablePrefix: string;
  /** Milliseconds. */
  lease: number;
  /** The call that never ends, such as `a5` or `send1`. */
  hangsAt?: string;
}

export interface Worker {
  /** The calls that it has begun, in order: `a1` is `publish("a", 1)`, `send1` is `send(1)`. */
  readonly begun: readonly string[];
  /** SIGKILL: nothing of it runs any more when this resolves. */
  kill(): Promise<void>;
}

/** Starts a process that relays everything that is due, by the functions `publish(key, n)` and `send(n)`. */
export function startWorker(task: WorkerTask): Worker {
  const child = fork(fileURLToPath(new URL("worker.ts", import.meta.url)), [JSON.stringify(task)], {
    execArgv: ["--import", "tsx"],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const begun: string[] = [];
  child.on("message", (call) => void begun.push(call as string));
  return {
    begun,
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    },
  };
}
