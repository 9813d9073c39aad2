import { expect, it } from "vitest";
import { type OutboxEvents, type Retry, UnrecoverableError } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { until } from "../support/waiting.js";

const soon: Retry = { initialDelay: 0, jitter: 0 };
const later: Retry = { initialDelay: "1h", maxDelay: "1h" };

function numbered(key: string, from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, index) => `${key}${from + index}`);
}

describeEachEngine("a keep-order key whose head cannot run", (engine) => {
  const outboxes = useOutboxes(engine);

  function open(fails: (call: string) => unknown, options: Parameters<typeof outboxes.open>[0] = {}) {
    const outbox = outboxes.open(options);
    const ran: string[] = [];
    const tried: string[] = [];
    const publish = outbox.saveToOutbox(
      async (key: string, n: number) => {
        const call = `${key}${n}`;
        tried.push(call);
        const error = fails(call);
        if (error instanceof Error) throw error;
        ran.push(call);
      },
      { name: "publish", strategy: "keep-order", stream: "orders", orderingKey: (key) => key },
    );
    const ranOf = (key: string) => ran.filter((call) => call.startsWith(key));
    const dueNow = async () => {
      const due_at = outboxes.knex.raw(outboxes.dialect.now);
      await outboxes.table("keys").update({ due_at });
      await outboxes.table("calls").update({ due_at });
    };
    return { outbox, publish, ran, tried, ranOf, dueNow };
  }

  it("because it fails, holds its key alone, and nothing overtakes it", async () => {
    let failing = "a2";
    const { outbox, publish, ranOf, dueNow } = open((call) => call === failing && new Error("down"), { retry: later });
    await outbox.transaction(async () => {
      for (let n = 1; n <= 4; n++) {
        await publish("a", n);
        await publish("b", n);
      }
    });
    const result = await outbox.relay();
    expect(result).toMatchObject({ published: 5, failed: 1, dead: 0, blockedCount: 1 });
    expect(result.blocked).toEqual([{ stream: "orders", orderingKey: "a", id: expect.any(String) as string }]);
    expect(ranOf("a")).toEqual(["a1"]);
    expect(ranOf("b")).toEqual(numbered("b", 1, 4));

    await outbox.transaction(async () => {
      await publish("a", 5);
      await publish("b", 5);
    });
    expect(await outbox.relay()).toMatchObject({ published: 1, failed: 0, blockedCount: 0 });
    expect(ranOf("a")).toEqual(["a1"]);
    expect(await outbox.streams.list()).toMatchObject([{ stream: "orders", pending: 4, blockedKeys: 1 }]);

    await dueNow();
    expect(await outbox.relay()).toMatchObject({ published: 0, failed: 1, blockedCount: 1 });
    expect((await outboxes.rows()).map(({ attempts }) => attempts)).toEqual([2, 0, 0, 0]);
    failing = "";
    await dueNow();
    expect(await outbox.relay()).toMatchObject({ published: 4, failed: 0 });
    expect(ranOf("a")).toEqual(numbered("a", 1, 5));
    expect(await outboxes.rows()).toEqual([]);
    expect(await outboxes.table("keys")).toEqual([]);
  });

  it("is retried at each moment that its policy says, and no attempt is lost or run twice", async () => {
    const { outbox, publish, tried, ran } = open(
      (call) => tried.filter((one) => one === call).length < 3 && new Error("down"),
      {
        retry: soon,
      },
    );
    await outbox.transaction(async () => {
      for (let n = 1; n <= 5; n++) await publish("a", n);
    });
    await until("all have run", async () => {
      await outbox.relay();
      return ran.length === 5;
    });
    expect(ran).toEqual(numbered("a", 1, 5));
    expect(tried).toEqual(numbered("a", 1, 5).flatMap((call) => [call, call, call]));
  });

  it.each<[why: string, error: Error, retry: Retry]>([
    ["an UnrecoverableError", new UnrecoverableError("no"), { initialDelay: 1, maxDelay: "2h" }],
    ["maxAttempts", new Error("down"), { initialDelay: 1, maxDelay: "2h", maxAttempts: 1 }],
    ["giveUpAfter", new Error("down"), { initialDelay: 1, maxDelay: "2h", giveUpAfter: 0 }],
  ])(
    "because of %s, is not given up: it is retried at the longest delay, and nothing overtakes it",
    async (_why, error, retry) => {
      let isDown = true;
      const { outbox, publish, ran, dueNow } = open(() => isDown && error, { retry });
      const dead: unknown[] = [];
      const blocked: OutboxEvents["blocked"][] = [];
      outbox.on("dead", (event) => void dead.push(event));
      outbox.on("blocked", (event) => void blocked.push(event));
      await outbox.transaction(async () => {
        await publish("a", 1);
        await publish("a", 2);
      });
      for (let attempts = 1; attempts <= 3; attempts++) {
        await outbox.relay();
        const [head] = await outboxes.rows();
        expect(head).toMatchObject({ state: "held", attempts });
        expect(blocked).toHaveLength(attempts);
        const inMs = blocked.at(-1)!.nextAttemptAt!.getTime() - Date.now();
        expect(Math.abs(inMs - 7_200_000)).toBeLessThan(30_000);
        await dueNow();
      }
      isDown = false;
      await outbox.relay();
      expect(ran).toEqual(["a1", "a2"]);
      expect(dead).toEqual([]);
    },
  );

  it("is overtaken by none of 1,000 calls behind it, nor by those saved later, also beside a busy key", async () => {
    let isDown = true;
    const { outbox, publish, ranOf, dueNow } = open((call) => isDown && call === "a1" && new Error("down"), {
      retry: later,
    });
    await outbox.transaction(async () => {
      for (let n = 1; n <= 1000; n++) await publish("a", n);
      for (let n = 1; n <= 10; n++) await publish("b", n);
    });
    expect(await outbox.relay()).toMatchObject({ published: 10, failed: 1, blockedCount: 1 });
    expect(ranOf("b")).toEqual(numbered("b", 1, 10));
    await outbox.transaction(async () => {
      for (let n = 1001; n <= 1500; n++) await publish("a", n);
      for (let n = 11; n <= 20; n++) await publish("b", n);
    });
    expect(await outbox.relay()).toMatchObject({ published: 10, failed: 0 });
    expect(ranOf("a")).toEqual([]);
    isDown = false;
    await dueNow();
    expect(await outbox.relay()).toMatchObject({ published: 1500 });
    expect(ranOf("a")).toEqual(numbered("a", 1, 1500));
    expect(await outboxes.rows()).toEqual([]);
  });

  it("is one of many such keys, each of which is tried once in a pass", async () => {
    let isDown = true;
    const { outbox, publish, ran, tried, dueNow } = open(() => isDown && new Error("down"), { retry: later });
    const keys = Array.from({ length: 300 }, (_, index) => `k${index}-`);
    await outbox.transaction(async () => {
      for (const key of keys) await publish(key, 1);
      for (const key of keys) await publish(key, 2);
    });
    const result = await outbox.relay();
    expect(result).toMatchObject({ published: 0, failed: 300, blockedCount: 300 });
    expect(result.blocked).toHaveLength(100);
    expect(tried.sort()).toEqual(keys.map((key) => `${key}1`).sort());
    await dueNow();
    expect(await outbox.relay()).toMatchObject({ published: 0, failed: 300, blockedCount: 300 });
    isDown = false;
    await dueNow();
    expect(await outbox.relay()).toMatchObject({ published: 600, failed: 0 });
    for (const key of keys) expect(ran.indexOf(`${key}1`)).toBeLessThan(ran.indexOf(`${key}2`));
    expect(await outboxes.table("keys")).toEqual([]);
  });

  it.each(["delay", "runAt"])("because of its %s, holds its key until it is due, and is no failure", async (way) => {
    const { outbox, publish, ran, dueNow } = open(() => undefined);
    const perCall = way === "delay" ? { delay: "1h" } : { runAt: new Date(Date.now() + 3_600_000) };
    await outbox.transaction(async () => {
      await publish("a", 1);
      await publish.with(perCall)("a", 2);
      await publish("a", 3);
      await publish("b", 1);
    });
    const nothing = { failed: 0, unroutable: 0, blocked: [], blockedCount: 0 };
    expect(await outbox.relay()).toMatchObject({ published: 2, ...nothing });
    await outbox.transaction(() => publish("a", 4));
    expect(await outbox.relay()).toMatchObject({ published: 0, ...nothing });
    expect(ran.sort()).toEqual(["a1", "b1"]);
    const listed = await outbox.calls.list();
    expect(Math.abs(listed[0]!.dueAt.getTime() - Date.now() - 3_600_000)).toBeLessThan(60_000);
    expect(listed.map(({ attempts }) => attempts)).toEqual([0, 0, 0]);
    await dueNow();
    expect(await outbox.relay()).toMatchObject({ published: 3, ...nothing });
    expect(ran).toEqual(["a1", "b1", "a2", "a3", "a4"]);
  });

  it("because its payload is broken, blocks its key alone and says why, until somebody mends it", async () => {
    const { outbox, publish, ran, tried, dueNow } = open(() => undefined, { retry: later });
    const failed: OutboxEvents["failed"][] = [];
    outbox.on("failed", (event) => void failed.push(event));
    await outbox.transaction(async () => {
      for (const n of [1, 2]) {
        await publish("a", n);
        await publish("b", n);
      }
    });
    const [{ seq, payload }] = (await outboxes.table("calls").orderBy("seq").limit(1)) as [Record<string, string>];
    await outboxes.table("calls").where({ seq }).update({ payload: '{"json":["a",1' });
    expect(await outbox.relay()).toMatchObject({ published: 2, failed: 1, blockedCount: 1 });
    expect(tried).toEqual(["b1", "b2"]);
    expect(failed).toMatchObject([
      { call: { orderingKey: "a", args: [] }, error: { code: "CARTEIRO_UNDECODABLE_PAYLOAD" } },
    ]);
    const [head] = await outboxes.rows();
    expect(head).toMatchObject({ state: "held", attempts: 1 });
    expect(head!.lastError).toContain("the codec superjson could not decode the payload: it is not JSON");
    await outboxes.table("calls").where({ seq }).update({ payload });
    await dueNow();
    expect(await outbox.relay()).toMatchObject({ published: 2 });
    expect(ran).toEqual(["b1", "b2", "a1", "a2"]);
  });

  it("because its codec is not known here, blocks its key alone and says why", async () => {
    const { outbox, publish, tried } = open(() => undefined, { retry: later });
    await outbox.transaction(async () => {
      await publish("a", 1);
      await publish("b", 1);
    });
    const [first] = await outboxes.rows();
    await outboxes.table("calls").where({ id: first!.id }).update({ codec: "protobuf" });
    expect(await outbox.relay()).toMatchObject({ published: 1, failed: 1 });
    expect(tried).toEqual(["b1"]);
    expect((await outboxes.rows())[0]!.lastError).toContain(
      'encoded by the codec "protobuf", which this process does not know',
    );
  });
});
