import { expect, it } from "vitest";
import { currentCall, type Outbox, RunTimeoutError } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { deferred, gate, until } from "../support/waiting.js";

const TIMEOUT_MS = 50;
const ABANDON_AFTER_MS = 300;
/** For a machine that is busy: far above `abandonAfter`, and far below the abandonment of the other process. */
const ENDS_WITHIN_MS = 10_000;

const STRATEGIES = [
  { strategy: "publish-on-commit", name: "send" },
  { strategy: "keep-order", name: "publish" },
] as const;

describeEachEngine("a function that ignores its signal", (engine) => {
  const outboxes = useOutboxes(engine);

  /** A process that abandons soon, and one that does not; the first attempt of a1 and the second wait for the test. */
  function open(name: "send" | "publish", retryAfter: number | string = 1) {
    const options = { concurrency: 1, deleteAfterSend: false, retry: { initialDelay: retryAfter, jitter: 0 } };
    const hasty = outboxes.open({ ...options, timeout: TIMEOUT_MS, abandonAfter: ABANDON_AFTER_MS });
    const patient = outboxes.openRival(options);
    const begun = [deferred<{ signal: AbortSignal; at: number }>(), deferred<{ signal: AbortSignal; at: number }>()];
    const ends = [gate(), gate()];
    const told: string[] = [];
    const ran: string[] = [];
    const run = async (label: string) => {
      const { attempt, signal } = currentCall()!;
      ran.push(`${label} ${attempt}`);
      begun[label === "a1" ? attempt - 1 : 2]?.resolve({ signal, at: performance.now() });
      if (label === "a1") await ends[attempt - 1]?.promise;
    };
    const wrap = (outbox: Outbox) => {
      for (const event of ["abandoned", "failed", "published", "leaseLost"] as const) {
        outbox.on(event, (seen) => {
          told.push(`${event} ${String(seen.call?.args[0])}${"attempt" in seen ? ` ${seen.attempt}` : ""}`);
        });
      }
      return name === "send"
        ? outbox.saveToOutbox(run, { name })
        : outbox.saveToOutbox(run, { name, strategy: "keep-order", orderingKey: (label) => label.slice(0, 1) });
    };
    const save = wrap(hasty);
    wrap(patient);
    return { hasty, patient, save, begun, ends, told, ran };
  }

  /** What the hasty one abandoned, while the patient one runs it again. */
  async function runAgain(name: "send" | "publish") {
    const opened = open(name);
    const { hasty, patient, save, begun } = opened;
    await hasty.transaction(() => save("a1"));
    if (name === "publish") await hasty.relay();
    await hasty.idle();
    const relayer = patient.startRelayer({ interval: 5 });
    const [first] = [await begun[0]!.promise, await begun[1]!.promise];
    expect(first.signal.reason).toBeInstanceOf(RunTimeoutError);
    const before = await outboxes.rows();
    expect(before).toMatchObject([{ attempts: 1, lastError: expect.stringContaining("abandoned") as string }]);
    return { ...opened, relayer, before };
  }

  /** Runs another call in the hasty process, after which all that it had to do before is done. */
  async function runAnother({ hasty, save, told }: ReturnType<typeof open>, relays: readonly Outbox[]) {
    await hasty.transaction(() => save("b1"));
    await until("another call is sent", async () => {
      for (const outbox of relays) await outbox.relay();
      return told.includes("published b1 1");
    });
  }

  for (const { strategy, name } of STRATEGIES) {
    it.each(["succeeds", "fails"])(
      `that %s after it was abandoned changes nothing of the next attempt, which goes on [${strategy}]`,
      async (how) => {
        const opened = await runAgain(name);
        const { hasty, relayer, begun, ends, told, before } = opened;
        if (how === "succeeds") ends[0]!.resolve();
        else ends[0]!.reject(new Error("much too late"));
        // The stream is the other's; publish-on-commit calls this process runs itself.
        if (name === "send") await runAnother(opened, [hasty]);
        await hasty.idle();
        expect((await outboxes.rows())[0]).toEqual(before[0]);
        expect((await begun[1]!.promise).signal.aborted).toBe(false);
        ends[1]!.resolve();
        await until("the second attempt is settled", () => told.includes("published a1 2"));
        await relayer.stop();
        expect((await outboxes.rows())[0]).toMatchObject({
          state: "sent",
          attempts: 2,
          lastError: before[0]!.lastError,
        });
        expect(told.filter((line) => line.includes("a1"))).toEqual(["abandoned a1 1", "failed a1 1", "published a1 2"]);
      },
    );

    it(`that fails after its call was sent changes nothing [${strategy}]`, async () => {
      const opened = await runAgain(name);
      const { relayer, hasty, patient, ends, told } = opened;
      ends[1]!.resolve();
      await until("the second attempt is settled", () => told.includes("published a1 2"));
      await relayer.stop();
      const before = await outboxes.rows();
      ends[0]!.reject(new Error("much too late"));
      await runAnother(opened, [hasty, patient]);
      expect((await outboxes.rows())[0]).toEqual(before[0]);
      expect(told.filter((line) => line.includes("a1"))).toEqual(["abandoned a1 1", "failed a1 1", "published a1 2"]);
    });

    it(`gives the only slot back, and its key moves on, while it still hangs [${strategy}]`, async () => {
      const { hasty, save, begun, ends, told, ran } = open(name);
      ends[1]!.resolve();
      const relayer = hasty.startRelayer({ interval: 5 });
      await hasty.transaction(async () => {
        for (const label of ["a1", "a2", "b1"]) await save(label);
      });
      await until("all are sent", async () => (await outboxes.rows()).every(({ state }) => state === "sent"));
      expect((await begun[0]!.promise).signal.aborted).toBe(true);
      expect(told.filter((line) => line.startsWith("abandoned"))).toEqual(["abandoned a1 1"]);
      if (name === "publish") expect(ran.filter((label) => label !== "b1 1")).toEqual(["a1 1", "a1 2", "a2 1"]);
      await relayer.stop();
    });

    // Who waits is the same to every database.
    it.each(engine.name === "pglite" ? (["stop", "close", "idle", "relay"] as const) : (["close"] as const))(
      `is waited for by %s until it is abandoned, and no longer [${strategy}]`,
      async (how) => {
        const { hasty, save, begun, told } = open(name, "1h");
        if (how === "relay") {
          await hasty.transaction(() => save.with({ delay: 1 })("a1"));
          await until("it is due", async () => (await hasty.calls.list({ state: "due" })).length === 1);
        }
        const relayer = how === "relay" ? undefined : hasty.startRelayer({ interval: 5 });
        const relaying = how === "relay" ? hasty.relay() : undefined;
        if (how !== "relay") await hasty.transaction(() => save("a1"));
        const { at } = await begun[0]!.promise;
        await {
          stop: () => relayer!.stop(),
          close: () => hasty.close(),
          idle: () => hasty.idle(),
          relay: () => relaying,
        }[how]();
        // A relayer's `stop` waits for its own runs alone; this one is the commit's.
        if (how === "stop" && name === "send") await hasty.idle();
        expect(performance.now() - at).toBeLessThan(ENDS_WITHIN_MS);
        expect(told).toEqual(["abandoned a1 1", "failed a1 1"]);
        expect(await outboxes.rows()).toMatchObject([{ attempts: 1, isLeased: false }]);
      },
    );
  }
});
