import { randomUUID } from "node:crypto";
import { expect, it } from "vitest";
import type { Strategy } from "../../src/index.js";
import { Runs } from "../../src/run/runs.js";
import { Slots } from "../../src/run/slots.js";
import { Suspects } from "../../src/run/suspects.js";
import { describeEachEngine } from "../support/databases.js";
import { storedCall } from "../support/definitions.js";
import { useOutboxes } from "../support/outboxes.js";
import { deferred, gate, until } from "../support/waiting.js";

/** Enough turns of the microtask queue for everything that is about to happen. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

it("holds nobody back while what runs has not ended, and keeps no other suspect waiting", async () => {
  const [slots, runs] = [new Slots(3), new Runs()];
  const suspects = new Suspects({ slots, runs, maxCrashes: 5 });
  const hour = deferred();
  await slots.take();
  const run = {};
  runs.begin(run);
  const running = hour.promise.then(() => {
    runs.end(run);
    slots.give();
  });
  const ran: string[] = [];
  const alone = suspects.inTurn(storedCall({ suspectRuns: 1 }), async (isAlone) => void ran.push(`alone: ${isAlone}`));
  await turn();
  expect(slots.takeFree(1)).toBe(1);
  slots.give();
  await suspects.inTurn(storedCall(), async (isAlone) => void ran.push(`alone: ${isAlone}`));
  expect(ran).toEqual(["alone: false"]);
  hour.resolve();
  await Promise.all([running, alone]);
  expect(ran).toEqual(["alone: false", "alone: true"]);
  expect(slots.takeFree(9)).toBe(3);
});

describeEachEngine("a suspect that must run alone, beside runs that take long", (engine) => {
  const outboxes = useOutboxes(engine);

  it.each<Strategy>(["publish-on-commit", "keep-order"])(
    "delays no other for long, and is alone: %s",
    async (strategy) => {
      const outbox = outboxes.open({ requireTransaction: false, concurrency: 4 });
      const gates = new Map(["hour", "another hour", "suspect"].map((what) => [what, gate()]));
      const begun: string[] = [];
      const run = async (what: string) => {
        begun.push(what);
        await gates.get(what)?.promise;
      };
      const send = outbox.saveToOutbox(run, { name: "send" });
      const suspected = outbox.saveToOutbox(run, {
        name: "suspected",
        stream: "suspects",
        strategy,
        ...(strategy === "keep-order" ? { orderingKey: (what: string) => what } : {}),
      });
      const begins = (what: string) => until(`${what} begins`, () => begun.includes(what));
      await send("hour");
      await begins("hour");

      // A delay: the process that saves them shall not run them.
      const { id } = await suspected.with({ delay: 1 })("suspect");
      await suspected.with({ delay: 1 })("beside");
      const token = strategy === "publish-on-commit" ? randomUUID() : null;
      const past = outboxes.knex.raw(outboxes.dialect.after("-1"));
      await outboxes.table("calls").where({ function_name: "suspected" }).update({ lease_id: token, due_at: past });
      await outboxes.table("calls").where({ id }).update({ suspect_runs: 1 });
      const counted = () => outboxes.table("calls").select("attempts", "suspect_runs").where({ id });
      const pass = outbox.relay({ stream: "suspects" });
      await begins("beside");

      for (const what of ["at once", "another hour"]) {
        await send(what);
        await begins(what);
      }
      gates.get("hour")!.resolve();
      await until("the hour is over", async () => (await outboxes.rows()).length === 2);
      await send("a moment later");
      await begins("a moment later");
      // Whatever ended the process by now, nothing would be counted.
      expect(begun).not.toContain("suspect");
      expect(await counted()).toEqual([{ attempts: 0, suspect_runs: 1 }]);

      gates.get("another hour")!.resolve();
      await begins("suspect");
      expect(await counted()).toEqual([{ attempts: 1, suspect_runs: 2 }]);
      await send("after it");
      await until("the other hour is settled", async () => (await outboxes.rows()).length === 2);
      expect(begun.at(-1)).toBe("suspect");
      expect(await outboxes.rows()).toMatchObject([
        { functionName: "suspected", attempts: 1 },
        { functionName: "send", attempts: 0, isLeased: false },
      ]);
      gates.get("suspect")!.resolve();
      await begins("after it");
      expect(await pass).toMatchObject({ published: 2 });
    },
  );
});
