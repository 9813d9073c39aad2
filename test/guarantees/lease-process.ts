/** A process of its own that saves, relays and runs calls as a test tells it to: see `startProcess`. */
import { existsSync } from "node:fs";
import knex from "knex";
import { createOutbox, currentCall, type Relayer } from "../../src/index.js";
import type { Command, How, ProcessEvent, ProcessTask } from "./lease-processes.js";

const { client, url, tablePrefix, options } = JSON.parse(process.argv[2]!) as ProcessTask;
const db = knex({ client, connection: url });
const outbox = createOutbox({ knex: db, tablePrefix, ...options });
/** Runs that wait to be told how to end. */
const waiting = new Map<string, { resolve: () => void; reject: (error: Error) => void }>();
let relayer: Relayer | undefined;

/** Resolves once it was handed to the operating system: the process may stop answering then. */
const tell = (event: ProcessEvent) => new Promise((resolve) => process.send!(event, resolve));

async function run(label: string, how: How): Promise<void> {
  const { signal, attempt, fence } = currentCall()!;
  signal.addEventListener("abort", () => void tell({ kind: "aborted", label, reason: nameOf(signal.reason) }));
  const toldHowToEnd = new Promise<void>((resolve, reject) => waiting.set(label, { resolve, reject }));
  await tell({ kind: "began", label, attempt, fence });
  if (how.kind === "fail") throw new Error("down");
  if (how.kind === "return") return;
  if (how.kind === "block") block(how.untilFile);
  await toldHowToEnd;
}

/** Nothing else of this process goes on meanwhile: no timer, no answer of the database. */
function block(untilFile: string): void {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  while (!existsSync(untilFile)) Atomics.wait(cell, 0, 0, 5);
}

const nameOf = (error: unknown) => (error instanceof Error ? error.constructor.name : String(error));

const send = outbox.saveToOutbox(run, { name: "send" });
const publish = outbox.saveToOutbox(run, {
  name: "publish",
  strategy: "keep-order",
  stream: "orders",
  orderingKey: (label) => label.slice(0, 1),
});

for (const kind of ["published", "failed", "abandoned"] as const) {
  outbox.on(kind, (event) => {
    const nextAttemptAt = "nextAttemptAt" in event ? event.nextAttemptAt?.getTime() : undefined;
    const createdAt = event.call.createdAt.getTime();
    void tell({ kind, label: String(event.call.args[0]), attempt: event.attempt, nextAttemptAt, createdAt });
  });
}
outbox.on("leaseLost", ({ stream, call }) => void tell({ kind: "leaseLost", label: call ? "send" : stream }));

const commands: { [Name in Command["do"]]: (command: Extract<Command, { do: Name }>) => Promise<unknown> } = {
  clock: async () => Date.now(),
  save: async ({ name, label, how, delay, runAt }) => {
    const wrapped = name === "send" ? send : publish;
    const perCall = {
      ...(delay === undefined ? {} : { delay }),
      ...(runAt === undefined ? {} : { runAt: new Date(runAt) }),
    };
    await outbox.transaction(() => wrapped.with(perCall)(label, how));
  },
  relay: ({ limit, deadline }) =>
    outbox.relay({
      ...(limit === undefined ? {} : { limit }),
      ...(deadline === undefined ? {} : { deadline: new Date(deadline) }),
    }),
  startRelayer: async () => void (relayer = outbox.startRelayer({ interval: 10 })),
  stop: async () => relayer?.stop(),
  idle: () => outbox.idle(),
  clean: ({ olderThan }) => outbox.clean({ olderThan }),
  finish: async ({ label, error }) => {
    const run = waiting.get(label)!;
    if (error === undefined) run.resolve();
    else run.reject(new Error(error));
  },
};

process.on("message", ({ id, command }: { id: number; command: Command }) => {
  const doing = commands[command.do] as (command: Command) => Promise<unknown>;
  doing(command).then(
    (value) => tell({ kind: "reply", id, value }),
    (error: unknown) => tell({ kind: "reply", id, error: String(error) }),
  );
});
// A test run that is gone leaves no process behind.
process.once("disconnect", () => process.exit(1));
void tell({ kind: "ready" });
