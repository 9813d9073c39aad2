import { afterEach, expect, it } from "vitest";
import { currentCall, type CurrentCall } from "../../src/index.js";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { until } from "../support/waiting.js";
import { startWorker, type Worker, type WorkerTask } from "../support/workers.js";

const LEASE_MS = 1500;

describeEachServer("a process that is killed in the middle of a run", (engine) => {
  const outboxes = useOutboxes(engine);
  const workers: Worker[] = [];
  afterEach(() => Promise.all(workers.splice(0).map((worker) => worker.kill())));

  function start(hangsAt: WorkerTask["hangsAt"], lease = LEASE_MS): Worker {
    const worker = startWorker({ ...outboxes.database.connection!, tablePrefix: outboxes.tablePrefix, lease, hangsAt });
    workers.push(worker);
    return worker;
  }

  function survivor() {
    const outbox = outboxes.open();
    const ran: string[] = [];
    const calls: CurrentCall[] = [];
    const run = async (call: string) => {
      ran.push(call);
      calls.push(currentCall()!);
    };
    const publish = outbox.saveToOutbox((key: string, n: number) => run(`${key}${n}`), {
      name: "publish",
      strategy: "keep-order",
      stream: "orders",
      orderingKey: (key) => key,
    });
    const send = outbox.saveToOutbox((n: number) => run(`send${n}`), { name: "send" });
    return { outbox, publish, send, ran, calls };
  }

  it("loses no publish-on-commit call: another takes it up when the lease has ended, and not before", async () => {
    const { outbox, send, ran, calls } = survivor();
    const { id } = await outbox.transaction(() => send.with({ delay: 1 })(1));
    const worker = start("send1");
    await until("it is being run", () => worker.begun.includes("send1"));
    await worker.kill();
    const [row] = await outboxes.rows();
    expect(row).toMatchObject({ state: "pending", attempts: 0, fence: 1, isLeased: true });
    const { dueAt: leaseEnd } = (await outbox.calls.list())[0]!;
    await until("another has run it", async () => {
      await outbox.relay();
      return ran.length === 1;
    });
    // The database's clock is this machine's.
    expect(Date.now()).toBeGreaterThanOrEqual(leaseEnd.getTime());
    expect(calls).toMatchObject([{ id, attempt: 1, fence: 2 }]);
    expect(await outboxes.rows()).toEqual([]);
  });

  it("loses and reorders no keep-order call: another takes the stream over from the first unsettled one", async () => {
    const { outbox, publish, ran, calls } = survivor();
    await outbox.transaction(async () => {
      for (let n = 1; n <= 10; n++) for (const key of ["a", "b"]) await publish(key, n);
    });
    const worker = start("a5");
    await until("all but the calls from a5 on are settled", async () => {
      const rows = await outboxes.rows();
      return worker.begun.includes("a5") && rows.length === 6;
    });
    const leaseEnd = await outboxes.streamLeaseEnd();
    await worker.kill();
    await until("another has run the rest", async () => {
      await outbox.relay();
      return ran.length === 6;
    });
    expect(Date.now()).toBeGreaterThanOrEqual(leaseEnd);
    expect(ran).toEqual(["a5", "a6", "a7", "a8", "a9", "a10"]);
    expect(calls.map(({ attempt, fence }) => [attempt, fence])).toEqual(Array.from({ length: 6 }, () => [1, 2]));
    expect(await outboxes.rows()).toEqual([]);
  });

  it("repeats only what was not settled, in order, when it is killed at full speed", async () => {
    const { outbox, publish, ran } = survivor();
    const total = 20_000;
    await outbox.transaction(async () => {
      for (let n = 1; n <= total; n++) await publish("a", n);
    });
    const worker = start(undefined, 60_000);
    await until("it is in the middle", () => worker.begun.length >= 500);
    await worker.kill();
    const left = (await outboxes.rows()).length;
    expect(left).toBeGreaterThan(0);
    expect(await outbox.relay()).toMatchObject({ published: 0 });
    await outboxes.expireLeases();
    expect(await outbox.relay()).toMatchObject({ published: left });
    const first = total - left + 1;
    expect(ran).toEqual(Array.from({ length: left }, (_, index) => `a${first + index}`));
    expect(worker.begun).toEqual(Array.from({ length: worker.begun.length }, (_, index) => `a${index + 1}`));
    // What it had begun, and not settled: more was never in flight.
    expect(worker.begun.length - first).toBeLessThan(200);
  });

  it("leaves the keys that it had set aside to the next", async () => {
    const { outbox, publish, ran } = survivor();
    await outbox.transaction(async () => {
      for (let n = 1; n <= 2000; n++) await publish("a", n);
      await publish("b", 1);
    });
    const worker = start("a1", 60_000);
    await until(
      "the slow key has stepped aside",
      async () => worker.begun.includes("b1") && (await outboxes.rows()).length === 2000,
    );
    await worker.kill();
    expect(await outboxes.table("keys").select("state")).toEqual([{ state: "busy" }]);
    await outboxes.expireLeases();
    await outbox.transaction(() => publish("a", 2001));
    expect(await outbox.relay()).toMatchObject({ published: 2001 });
    expect(ran).toEqual(Array.from({ length: 2001 }, (_, index) => `a${index + 1}`));
    expect(await outboxes.table("keys")).toEqual([]);
  });
});
