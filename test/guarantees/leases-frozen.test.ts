import { expect, it } from "vitest";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { until } from "../support/waiting.js";
import { type OutboxProcess, useProcesses } from "./lease-processes.js";
import { rivalOf } from "./lease-rival.js";

const LEASE_MS = 1000;
const options = { lease: LEASE_MS, deleteAfterSend: false };

/** Whose run goes on by which function, and what else it would run next. */
const STRATEGIES = [
  { strategy: "publish-on-commit", name: "send", labels: ["a1"], lost: "send" },
  { strategy: "keep-order", name: "publish", labels: ["a1", "a2", "a3"], lost: "orders" },
] as const;

describeEachServer("a process that is frozen for longer than its lease (SIGSTOP, SIGCONT)", (engine) => {
  const outboxes = useOutboxes(engine);
  const processes = useProcesses(outboxes);

  /** A process that is frozen in the run of a1, and another that has taken over, and runs a1 too. */
  async function freezeAndTakeOver({ name, labels }: (typeof STRATEGIES)[number]) {
    const frozen = await processes.start(options);
    for (const label of labels) {
      await frozen.ask({ do: "save", name, label, how: { kind: label === "a1" ? "wait" : "return" } });
    }
    const relaying = name === "publish" ? frozen.ask({ do: "relay" }) : undefined;
    await until("a1 is being run", () => frozen.labels("began").length > 0);
    frozen.freeze();
    const rival = rivalOf(outboxes.openRival(options));
    const relayer = rival.outbox.startRelayer({ interval: 20 });
    await rival.started.promise;
    return { frozen, relaying, rival, relayer };
  }

  const settledBy = (process: OutboxProcess) => [...process.labels("published"), ...process.labels("failed")];

  for (const one of STRATEGIES) {
    it(`has lost it: its signal fires, and nothing is settled when the run ends [${one.strategy}]`, async () => {
      const { frozen, relaying, rival, relayer } = await freezeAndTakeOver(one);
      const before = await outboxes.rows();
      frozen.thaw();
      await until("it knows", () => frozen.labels("leaseLost").length > 0 && frozen.labels("aborted").length > 0);
      expect(frozen.events).toContainEqual({ kind: "aborted", label: "a1", reason: "LeaseLostError" });
      await frozen.ask({ do: "finish", label: "a1" });
      await frozen.ask({ do: "idle" });
      expect((await relaying) ?? {}).toEqual(relaying ? expect.objectContaining({ published: 0, failed: 0 }) : {});
      expect([frozen.labels("leaseLost"), settledBy(frozen)]).toEqual([[one.lost], []]);
      expect(await outboxes.rows()).toEqual(before);
      rival.letGo.resolve();
      await until("the other has run all", () => rival.published.length === one.labels.length);
      await relayer.stop();
      expect(rival.published).toEqual(one.labels);
      expect(rival.ran[0]).toMatchObject({ attempt: 1, fence: 2 });
      expect(frozen.labels("began")).toEqual(["a1"]);
      expect((await outboxes.rows()).map(({ state, attempts }) => [state, attempts])).toEqual(
        one.labels.map(() => ["sent", 1]),
      );
    });

    it(`begins nothing more where its run ends in the moment of the thaw [${one.strategy}]`, async () => {
      const { frozen, relaying, rival, relayer } = await freezeAndTakeOver(one);
      const before = await outboxes.rows();
      // It finds this in its mailbox, at once with all that its timers have to do.
      const told = frozen.ask({ do: "finish", label: "a1" });
      frozen.thaw();
      await told;
      await frozen.ask({ do: "idle" });
      await relaying;
      await until("it has told of the loss", () => frozen.labels("leaseLost").length > 0);
      expect([frozen.labels("leaseLost"), settledBy(frozen)]).toEqual([[one.lost], []]);
      expect(frozen.labels("began")).toEqual(["a1"]);
      expect(await outboxes.rows()).toEqual(before);
      rival.letGo.resolve();
      await until("the other has run all", () => rival.published.length === one.labels.length);
      await relayer.stop();
      expect(rival.published).toEqual(one.labels);
    });

    it(`changes nothing of what the other has settled meanwhile [${one.strategy}]`, async () => {
      const { frozen, relaying, rival, relayer } = await freezeAndTakeOver(one);
      rival.letGo.resolve();
      await until("the other has run all", () => rival.published.length === one.labels.length);
      await relayer.stop();
      const before = await outboxes.rows();
      expect(before.map(({ state }) => state)).toEqual(one.labels.map(() => "sent"));
      frozen.thaw();
      await until("it knows", () => frozen.labels("leaseLost").length > 0);
      await frozen.ask({ do: "finish", label: "a1", error: "down" });
      await frozen.ask({ do: "idle" });
      await relaying;
      expect([frozen.labels("leaseLost"), settledBy(frozen)]).toEqual([[one.lost], []]);
      expect(frozen.labels("began")).toEqual(["a1"]);
      expect(await outboxes.rows()).toEqual(before);
    });
  }

  it("runs nothing of what a person took away meanwhile, though nobody took over", async () => {
    const frozen = await processes.start(options);
    for (const label of ["a1", "a2", "a3"]) {
      await frozen.ask({ do: "save", name: "publish", label, how: { kind: label === "a1" ? "wait" : "return" } });
    }
    const relaying = frozen.ask({ do: "relay" });
    await until("a1 is being run", () => frozen.labels("began").length > 0);
    frozen.freeze();
    const operator = outboxes.open(options);
    const [, second] = await operator.calls.list();
    // Its lease has to end first: it does not answer.
    expect(await operator.calls.discard(second!.id)).toEqual({ discarded: 1, running: 0 });
    await operator.keys.park({ stream: "orders", orderingKey: "a" });
    const told = frozen.ask({ do: "finish", label: "a1" });
    frozen.thaw();
    await told;
    await relaying.catch(() => undefined);
    await frozen.ask({ do: "idle" });
    expect(frozen.labels("began")).toEqual(["a1"]);
    expect(frozen.labels("leaseLost")).toEqual(["orders"]);
    expect((await outboxes.rows()).map(({ state }) => state)).not.toContain("sent");
  });
});
