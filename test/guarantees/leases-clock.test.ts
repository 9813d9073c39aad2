import { describe, expect, it } from "vitest";
import { findFaketime, faketimeMissing, shiftedClock } from "../support/faketime.js";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { until } from "../support/waiting.js";
import { type OutboxProcess, type ProcessTask, useProcesses } from "./lease-processes.js";

const LEASE_MS = 1000;
const HOUR_MS = 60 * 60 * 1000;
/** Nothing here takes as long, and the clocks are off by much more. */
const FAR_MS = 10 * 60 * 1000;

const isMissing = findFaketime() === undefined;
if (isMissing) {
  if (process.env.CI) throw new Error(`CI is set, so nothing may be missing. ${faketimeMissing}`);
  console.warn(`${faketimeMissing} The tests of clocks that are off are skipped.`);
}

describe.skipIf(isMissing)("processes whose clocks are an hour off", () => {
  describeEachServer("one ahead, one behind", (engine) => {
    const outboxes = useOutboxes(engine);
    const processes = useProcesses(outboxes);

    async function startBoth(options: ProcessTask["options"] = {}) {
      const start = async (by: "+1h" | "-1h", offByMs: number) => {
        const started = await processes.start({ lease: LEASE_MS, ...options }, shiftedClock(by));
        expect(Math.abs((await started.ask({ do: "clock" })) - Date.now() - offByMs)).toBeLessThan(FAR_MS);
        return started;
      };
      const [ahead, behind] = await Promise.all([start("+1h", HOUR_MS), start("-1h", -HOUR_MS)]);
      return { ahead, behind };
    }

    /** The one, and the other. */
    const inTurn = (both: Awaited<ReturnType<typeof startBoth>>, first: "ahead" | "behind") =>
      first === "ahead" ? ([both.ahead, both.behind] as const) : ([both.behind, both.ahead] as const);

    /** When the call's lease and the stream's end, on the database's clock, which is this machine's. */
    async function leaseEnds() {
      const [call] = await outboxes.open().calls.list({ function: "send" });
      return [call!.dueAt.getTime(), await outboxes.streamLeaseEnd()] as const;
    }

    /** One call of each strategy that `holder` is running, the second in a pass with this result. */
    async function hold(holder: OutboxProcess) {
      await holder.ask({ do: "save", name: "send", label: "s1", how: { kind: "wait" } });
      await holder.ask({ do: "save", name: "publish", label: "a1", how: { kind: "wait" } });
      const result = holder.ask({ do: "relay" });
      await until("both are being run", () => holder.labels("began").length === 2);
      return { result };
    }

    for (const which of ["ahead", "behind"] as const) {
      it(`no live lease of the one that is ${which} is taken by the other, and one that has ended is`, async () => {
        const [holder, other] = inTurn(await startBoth(), which);
        const relaying = await hold(holder);
        const firstEnds = await leaseEnds();
        for (const end of firstEnds) expect(Math.abs(end - Date.now())).toBeLessThan(FAR_MS);
        await until("the leases have been held twice as long as they are", async () => {
          expect(await other.ask({ do: "relay" })).toMatchObject({ published: 0, failed: 0 });
          return (await leaseEnds()).every((end, index) => end > firstEnds[index]! + LEASE_MS);
        });
        expect([other.labels("began"), holder.labels("leaseLost")]).toEqual([[], []]);
        holder.freeze();
        const lastEnds = await leaseEnds();
        await other.ask({ do: "startRelayer" });
        // Suspects take turns: the next begins when the one before has ended.
        for (const count of [1, 2]) {
          await until("the other has taken over", () => other.labels("began").length === count);
          const label = other.labels("began")[count - 1]!;
          expect(Date.now()).toBeGreaterThanOrEqual(label === "s1" ? lastEnds[0] : lastEnds[1]);
          await other.ask({ do: "finish", label });
        }
        holder.thaw();
        await until("the first knows", () => holder.labels("leaseLost").length === 2);
        for (const label of ["s1", "a1"]) await holder.ask({ do: "finish", label });
        expect(await relaying.result).toMatchObject({ published: 0 });
        await other.ask({ do: "stop" });
        expect(holder.labels("leaseLost").toSorted()).toEqual(["orders", "send"]);
        expect([holder.labels("published"), other.labels("published").toSorted()]).toEqual([[], ["a1", "s1"]]);
      });
    }

    it("what they save is due at once, or when its delay says, for both", async () => {
      const both = Object.values(await startBoth());
      const dueAt = new Map<string, number>();
      for (const [index, saver] of both.entries()) {
        await saver.ask({ do: "save", name: "send", label: `now${index}`, how: { kind: "return" } });
        await saver.ask({ do: "idle" });
        expect(saver.labels("published")).toContain(`now${index}`);
        await saver.ask({ do: "save", name: "publish", label: `now${index}`, how: { kind: "return" } });
        expect(await both[1 - index]!.ask({ do: "relay" })).toMatchObject({ published: 1 });
      }
      for (const [index, saver] of both.entries()) {
        for (const name of ["send", "publish"] as const) {
          const moment = Date.now() + 1500;
          for (const when of [{ delay: 1500 }, { runAt: moment }]) {
            const label = `${name}${index} ${Object.keys(when)[0]}`;
            dueAt.set(label, moment);
            await saver.ask({ do: "save", name, label, how: { kind: "return" }, ...when });
          }
        }
      }
      for (const process of both) await process.ask({ do: "startRelayer" });
      const seenAt = new Map<string, number>();
      await until("all have run", () => {
        for (const label of both.flatMap((process) => process.labels("began"))) {
          if (!seenAt.has(label)) seenAt.set(label, Date.now());
        }
        return [...dueAt.keys()].every((label) => seenAt.has(label));
      });
      for (const [label, moment] of dueAt) expect(seenAt.get(label), label).toBeGreaterThanOrEqual(moment - 1);
      for (const process of both) await process.ask({ do: "stop" });
    });

    it("what fails says when it is tried again, and is tried then and not before", async () => {
      const both = Object.values(await startBoth({ retry: { initialDelay: 1000, jitter: 0 } }));
      for (const [index, process] of both.entries()) {
        await process.ask({ do: "save", name: "send", label: `s${index}`, how: { kind: "fail" } });
        await process.ask({ do: "idle" });
        await process.ask({ do: "save", name: "publish", label: `${index}a`, how: { kind: "fail" } });
        expect(await process.ask({ do: "relay" })).toMatchObject({ failed: 1, blockedCount: 1 });
      }
      const stored = await outboxes.open().calls.list();
      const due = new Map(["s0", "0a", "s1", "1a"].map((label, index) => [label, stored[index]!.dueAt.getTime()]));
      for (const [index, process] of both.entries()) {
        const failed = process.events.filter((event) => event.kind === "failed");
        expect(failed.map(({ label }) => label)).toEqual([`s${index}`, `${index}a`]);
        for (const { label, nextAttemptAt, createdAt } of failed) {
          expect(Math.abs(nextAttemptAt! - due.get(label)!)).toBeLessThan(FAR_MS);
          expect(Math.abs(createdAt - Date.now())).toBeLessThan(FAR_MS);
        }
      }
      for (const process of both) await process.ask({ do: "startRelayer" });
      const againAt = new Map<string, number>();
      await until("all were tried again", () => {
        for (const event of both.flatMap(({ events }) => events)) {
          if (event.kind === "began" && event.attempt === 2)
            againAt.set(event.label, againAt.get(event.label) ?? Date.now());
        }
        return againAt.size === 4;
      });
      for (const process of both) await process.ask({ do: "stop" });
      for (const [label, moment] of due) expect(againAt.get(label), label).toBeGreaterThanOrEqual(moment - 1);
    });

    it("calls that they commit in turn run in that order, whoever relays them", async () => {
      const both = await startBoth();
      const labels = Array.from({ length: 20 }, (_, index) => `a${index + 1}`);
      for (const [index, label] of labels.entries()) {
        const saver = index % 2 === 0 ? both.ahead : both.behind;
        await saver.ask({ do: "save", name: "publish", label, how: { kind: "return" } });
      }
      const stored = await outboxes.rows();
      // Their ids, which tell each process's own time, are not.
      expect(stored.map(({ id }) => id)).not.toEqual(stored.map(({ id }) => id).toSorted());
      expect(await both.ahead.ask({ do: "relay", limit: 10 })).toMatchObject({ published: 10 });
      expect(await both.behind.ask({ do: "relay" })).toMatchObject({ published: 10 });
      expect([...both.ahead.labels("began"), ...both.behind.labels("began")]).toEqual(labels);
    });

    it("a pass's deadline is a moment of the process's own clock, and the age of what is cleaned is not", async () => {
      const { ahead, behind } = await startBoth({ deleteAfterSend: false });
      await ahead.ask({ do: "save", name: "publish", label: "a1", how: { kind: "return" } });
      const inHalfAnHour = Date.now() + HOUR_MS / 2;
      expect(await ahead.ask({ do: "relay", deadline: inHalfAnHour })).toMatchObject({ published: 0 });
      const halfAnHourAgo = Date.now() - HOUR_MS / 2;
      expect(await behind.ask({ do: "relay", deadline: halfAnHourAgo })).toMatchObject({ published: 1 });
      expect(await ahead.ask({ do: "clean", olderThan: "30m" })).toEqual({ deleted: 0 });
      await until("it is old enough", async () => (await behind.ask({ do: "clean", olderThan: "1ms" })).deleted === 1);
    });
  });
});
