import { expect, it } from "vitest";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { deferred, until } from "../support/waiting.js";
import { useProcesses } from "./lease-processes.js";

const LEASE_MS = 500;
const CALLS = 60;

const STRATEGIES = [
  { strategy: "publish-on-commit", name: "send" },
  { strategy: "keep-order", name: "publish" },
] as const;

describeEachServer("a transaction that stays open for longer than the lease", (engine) => {
  const outboxes = useOutboxes(engine);
  const processes = useProcesses(outboxes);

  /** A process that commits, and two others that relay all the time. */
  async function open(name: "send" | "publish") {
    const relays = await Promise.all([1, 2].map(() => processes.start({ lease: LEASE_MS })));
    const outbox = outboxes.open({ lease: LEASE_MS });
    const ranHere: string[] = [];
    const run = async (label: string) => void ranHere.push(label);
    const wrapped =
      name === "send"
        ? outbox.saveToOutbox(run, { name })
        : outbox.saveToOutbox(run, {
            name,
            strategy: "keep-order",
            stream: "orders",
            orderingKey: (label) => label.slice(0, 1),
          });
    const relayer = name === "publish" ? outbox.startRelayer({ interval: 10 }) : undefined;
    for (const relay of relays) await relay.ask({ do: "startRelayer" });
    const ran = () => [...ranHere, ...relays.flatMap((relay) => relay.labels("began"))];
    return {
      outbox,
      relays,
      relayer,
      ran,
      wrapped: wrapped.in as (trx: unknown) => (...args: unknown[]) => Promise<unknown>,
    };
  }

  const labels = Array.from({ length: CALLS }, (_, index) => `${"abc"[index % 3]}${index}`);

  for (const { strategy, name } of STRATEGIES) {
    it(`has its calls run once, and those of one that rolls back never [${strategy}]`, async () => {
      const { outbox, relays, relayer, ran, wrapped } = await open(name);
      const [commits, rollsBack] = [await outboxes.knex.transaction(), await outboxes.knex.transaction()];
      const insert = async (trx: typeof commits, label: string) => wrapped(trx)(label, { kind: "return" });
      for (const label of labels) await insert(commits, label);
      // Another key: writers of one key wait for each other.
      for (let n = 1; n <= 3; n++) await insert(rollsBack, `x${n}`);
      const openUntil = Date.now() + 2 * LEASE_MS;
      // What others commit meanwhile runs meanwhile: the relays look all the time, and wait for nobody.
      let others = 0;
      while (Date.now() < openUntil) {
        const label = `y${(others += 1)}`;
        await outboxes.knex.transaction((trx) => insert(trx, label));
        await until("another's call has run", () => ran().includes(label));
      }
      expect(ran()).toHaveLength(others);
      await commits.commit();
      await rollsBack.rollback();
      await until("all have run", async () => (await outboxes.rows()).length === 0);
      await relayer?.stop();
      for (const relay of relays) await relay.ask({ do: "stop" });
      await outbox.idle();
      expect(
        ran()
          .filter((label) => !label.startsWith("y"))
          .toSorted(),
      ).toEqual(labels.toSorted());
      expect(ran().filter((label) => label.startsWith("y"))).toHaveLength(others);
    });
  }

  it("has each call run by whoever claims it first, while that run takes longer than the lease", async () => {
    const relay = await processes.start({ lease: LEASE_MS });
    const outbox = outboxes.open({ lease: LEASE_MS });
    const [started, finish] = [deferred(), deferred()];
    let runs = 0;
    const send = outbox.saveToOutbox(
      async (_label: string, _how: object) => {
        runs += 1;
        started.resolve();
        await finish.promise;
      },
      { name: "send" },
    );
    await relay.ask({ do: "startRelayer" });
    const trx = await outboxes.knex.transaction();
    await send.in(trx)("a1", { kind: "wait" });
    const insertedAt = Date.now();
    await until("it was open for twice the lease", () => Date.now() > insertedAt + 2 * LEASE_MS);
    await trx.commit();
    await until("somebody runs it", () => runs + relay.labels("began").length > 0);
    const leaseEnd = async () => (await outbox.calls.list())[0]!.dueAt.getTime();
    const firstEnd = await leaseEnd();
    await until("its lease was held twice as long as it is", async () => (await leaseEnd()) > firstEnd + LEASE_MS);
    expect(runs + relay.labels("began").length).toBe(1);
    finish.resolve();
    if (runs === 0) await relay.ask({ do: "finish", label: "a1" });
    await until("it is settled", async () => (await outboxes.rows()).length === 0);
    expect(runs + relay.labels("began").length).toBe(1);
  });
});
