import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { deferred } from "../support/waiting.js";
import type { OrderRun } from "./orders.js";

export interface RelayTask {
  client: "pg" | "mysql2";
  url: string;
  tablePrefix: string;
  seed: number;
}

export type RelayMessage = OrderRun | "ready" | "stepped back";
export type RelayOrder = "go on" | "leave";

export interface Relays {
  /** Resolves when all of them look for calls. */
  readonly ready: Promise<unknown>;
  /** Of all processes, each with the number of the one that it was in. */
  readonly runs: readonly (OrderRun & { relay: number })[];
  /** Resolves when every process has ended by itself, and all that it told has arrived. */
  leave(): Promise<void>;
  kill(): void;
}

/**
 * Starts processes that relay the orders' calls. After some runs a process steps back, and comes again when another one has
 * run something: the stream goes from hand to hand.
 */
export function startRelays(count: number, task: RelayTask): Relays {
  const runs: (OrderRun & { relay: number })[] = [];
  const children = Array.from({ length: count }, (_, relay) =>
    fork(
      fileURLToPath(new URL("orders-relay.ts", import.meta.url)),
      [JSON.stringify({ ...task, seed: task.seed + relay })],
      { execArgv: ["--import", "tsx"], stdio: ["ignore", "ignore", "inherit", "ipc"] },
    ),
  );
  const order = (relay: number, what: RelayOrder) => children[relay]!.send(what);
  const away = new Set<number>();
  const ready = children.map(() => deferred());
  for (const [relay, child] of children.entries()) {
    child.on("message", (message: RelayMessage) => {
      if (message === "ready") return ready[relay]!.resolve();
      if (message === "stepped back") return void away.add(relay);
      runs.push({ ...message, relay });
      for (const other of away) if (other !== relay && away.delete(other)) order(other, "go on");
    });
  }
  return {
    ready: Promise.all(ready.map(({ promise }) => promise)),
    runs,
    async leave() {
      await Promise.all(
        children.map(async (child, relay) => {
          const exited = once(child, "exit");
          order(relay, "leave");
          await exited;
        }),
      );
    },
    kill: () => children.forEach((child) => child.kill("SIGKILL")),
  };
}
