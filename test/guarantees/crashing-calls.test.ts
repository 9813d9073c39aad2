import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, expect, it, vi } from "vitest";
import type { OnExhausted } from "../../src/index.js";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { until } from "../support/waiting.js";
import type { CrashingTask } from "./crashing-worker.js";

interface Ran {
  name: string;
  attempt: number;
}

/** Each start of a process takes a second, and many on a busy machine; each end is found out after a lease. */
const LONG_MS = 90_000;
const PING_MS = 100;
/** Longer than the lease: other processes take over meanwhile. */
const WATCHDOG_MS = 1500;

describeEachServer("a call that ends its process each time", (engine) => {
  vi.setConfig({ testTimeout: 4 * LONG_MS });
  const outboxes = useOutboxes(engine);
  const supervised: { stop(): Promise<void> }[] = [];
  afterEach(() => Promise.all(supervised.splice(0).map((one) => one.stop())));

  /**
   * Starts a relaying process, and another one whenever that has ended, as a process manager does. One that has not answered
   * for as long as `watchdogMs` is killed.
   */
  function supervise(task: Partial<CrashingTask> = {}, watchdogMs = Infinity) {
    const folder = mkdtempSync(join(tmpdir(), "carteiro-crashing-"));
    const journal = join(folder, "journal");
    writeFileSync(journal, "");
    const full: CrashingTask = {
      journal,
      ...outboxes.database.connection!,
      tablePrefix: outboxes.tablePrefix,
      onExhausted: "block",
      by: "exit",
      ...task,
    };
    let child: ChildProcess | undefined;
    let isStopped = false;
    const seen = {
      crashes: 0,
      get ran(): Ran[] {
        const lines = readFileSync(journal, "utf8").split("\n");
        return lines.slice(0, -1).map((line) => JSON.parse(line) as Ran);
      },
      stop,
    };
    function start(): void {
      child = fork(fileURLToPath(new URL("crashing-worker.ts", import.meta.url)), [JSON.stringify(full)], {
        execArgv: ["--import", "tsx", "--max-old-space-size=64"],
        stdio: ["ignore", "ignore", "ignore", "ipc"],
      });
      const started = child;
      // Not before its first answer: it takes its time to start.
      let answeredAt = Infinity;
      const watch = setInterval(() => {
        if (performance.now() - answeredAt > watchdogMs) started.kill("SIGKILL");
        else started.send("ping", () => undefined);
      }, PING_MS);
      child.on("message", () => (answeredAt = performance.now()));
      child.on("exit", () => {
        clearInterval(watch);
        if (isStopped) return;
        seen.crashes += 1;
        start();
      });
    }
    async function stop(): Promise<void> {
      isStopped = true;
      if (child && child.exitCode === null && child.signalCode === null) {
        const exited = once(child, "exit");
        child.kill("SIGKILL");
        await exited;
      }
      rmSync(folder, { recursive: true });
    }
    start();
    supervised.push(seen);
    return seen;
  }

  function saver() {
    const outbox = outboxes.open();
    const refuse = () => Promise.reject(new Error("runs in the other process"));
    const send = outbox.saveToOutbox((_name: string) => refuse(), { name: "send" });
    const publish = outbox.saveToOutbox((_key: string, _name: string) => refuse(), {
      name: "publish",
      strategy: "keep-order",
      stream: "orders",
      orderingKey: (key) => key,
    });
    const unknown = outbox.saveToOutbox((_key: string) => refuse(), {
      name: "unknown",
      strategy: "keep-order",
      stream: "orders",
      orderingKey: (key) => key,
    });
    return { outbox, send, publish, unknown };
  }

  const attemptsOf = (ran: readonly Ran[], name: string) =>
    ran.filter((one) => one.name === name).map(({ attempt }) => attempt);

  it.each(["exit", "memory"] as const)("goes dead, publish-on-commit; by %s", async (by) => {
    const { outbox, send } = saver();
    // A delay: the process that commits them shall not run them.
    const names = ["one", "two", "three", "killer", "four", "five"];
    await outbox.transaction(async () => {
      for (const name of names) await send.with({ delay: 1 })(name);
    });
    const process = supervise({ by });
    const dead = (await until("it is dead", async () => (await outbox.calls.list({ state: "dead" })).at(0), LONG_MS))!;
    expect(dead.lastError).toMatch(/CrashedError: call .* of send has ended its process 2 times while it ran alone/);
    await until("the others have run", async () => (await outbox.calls.list()).length === 1);
    // Unsuspected, suspected beside others, and twice alone. The attempt of those is written before they run.
    expect(attemptsOf(process.ran, "killer")).toEqual([1, 1, 1, 2]);
    expect(process.crashes).toBe(4);
    for (const name of names.filter((one) => one !== "killer")) {
      expect(new Set(attemptsOf(process.ran, name)), name).toEqual(new Set([1]));
    }
    await outbox.transaction(() => send.with({ delay: 1 })("six"));
    await until("the process lives on, and runs others", () => process.ran.some(({ name }) => name === "six"));
    expect(process.crashes).toBe(4);
    // A person may try it again, from the beginning.
    expect(await outbox.calls.retry(dead.id)).toEqual({ retried: 1 });
    await until("it ends the process again", () => process.crashes === 5, LONG_MS);
  });

  it.each<[OnExhausted, CrashingTask["by"]]>([
    ["block", "exit"],
    ["park", "memory"],
    ["skip", "exit"],
  ])("is given up, keep-order, as onExhausted says: %s; by %s", async (onExhausted, by) => {
    const { outbox, publish } = saver();
    await outbox.transaction(async () => {
      for (const key of ["a", "b", "c"]) {
        for (let n = 1; n <= 3; n++) await publish(key, key === "b" && n === 2 ? "killer" : `${key}${n}`);
      }
    });
    const process = supervise({ onExhausted, by });
    const left = { block: ["blocked", "waiting"], park: ["parked", "parked"], skip: ["dead"] }[onExhausted];
    const states = async () => (await outbox.calls.list()).map(({ state }) => state);
    await until("it is given up", async () => JSON.stringify(await states()) === JSON.stringify(left), LONG_MS);
    const [killer] = await outbox.calls.list();
    expect(killer!.lastError).toMatch(/CrashedError: call .* of publish has ended its process 2 times/);
    expect(attemptsOf(process.ran, "killer").slice(-2)).toEqual([1, 2]);
    const crashes = process.crashes;
    await outbox.transaction(() => publish("c", "c4"));
    await until("the process lives on, and runs others", () => process.ran.some(({ name }) => name === "c4"));
    for (const { name, attempt } of process.ran) if (name !== "killer") expect(attempt, name).toBe(1);
    const ranOnce = (key: string) => [
      ...new Set(process.ran.map(({ name }) => name).filter((name) => name[0] === key)),
    ];
    expect(ranOnce("a")).toEqual(["a1", "a2", "a3"]);
    expect(ranOnce("c")).toEqual(["c1", "c2", "c3", "c4"]);
    expect(ranOnce("b")).toEqual(onExhausted === "skip" ? ["b1", "b3"] : ["b1"]);
    expect(process.crashes).toBe(crashes);
    expect(crashes).toBeLessThanOrEqual(5);
    if (onExhausted !== "block") return;
    expect(await outbox.keys.retryHead({ stream: "orders", orderingKey: "b" })).toEqual({ id: killer!.id });
    await until("a person's retry ends the process again", () => process.crashes > crashes, LONG_MS);
  });

  it("is found out behind more keys that cannot be routed than there are suspects", async () => {
    const { outbox, publish, unknown } = saver();
    await outbox.transaction(async () => {
      for (let n = 1; n <= 40; n++) await unknown(`unknown ${n}`);
      await publish("a", "killer");
      await publish("b", "b1");
    });
    const process = supervise({ onExhausted: "skip" });
    const dead = async () => (await outbox.calls.list({ state: "dead" })).at(0);
    expect((await until("it is dead", dead, LONG_MS))!.lastError).toMatch(/CrashedError: call .* of publish/);
    await until("the other one has run", () => process.ran.some(({ name }) => name === "b1"));
    expect(process.crashes).toBeLessThanOrEqual(5);
  });

  // Nothing of it depends on the database.
  it.runIf(engine.dialect === "pg")(
    "without ending it, by an endless loop, is found out all the same where a supervisor kills what does not answer",
    async () => {
      const { outbox, send, publish } = saver();
      await outbox.transaction(async () => {
        for (const name of ["one", "killer", "two"]) await send.with({ delay: 1 })(name);
        for (const name of ["killer", "three"]) await publish("a", name);
        await publish("b", "four");
      });
      const processes = [1, 2].map(() => supervise({ by: "endless loop", onExhausted: "skip" }, WATCHDOG_MS));
      const ran = () => processes.flatMap((process) => process.ran.map(({ name }) => name));
      const dead = await until(
        "both are dead, and the others have run",
        async () => {
          const calls = await outbox.calls.list();
          return calls.every(({ state }) => state === "dead") ? calls : undefined;
        },
        2 * LONG_MS,
      );
      expect(dead!.map((call) => call.function).toSorted()).toEqual(["publish", "send"]);
      for (const { lastError } of dead!) expect(lastError).toContain("CrashedError: ");
      expect([...new Set(ran())].toSorted()).toEqual(["four", "killer", "one", "three", "two"]);
      await outbox.transaction(() => send.with({ delay: 1 })("five"));
      await until("a process lives on, and runs others", () => ran().includes("five"));
    },
  );
});
