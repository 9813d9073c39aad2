import knexFactory from "knex";
import { describe, expect, it } from "vitest";
import {
  createOutbox,
  type FunctionOptions,
  InvalidOptionError,
  type OnExhausted,
  type OutboxEvents,
  type Retry,
  UnrecoverableError,
} from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";

interface Way {
  how: string;
  error: Error;
  retry: Retry;
  /** The attempt after which there is no more. */
  runs: number;
  /** How long an exhausted head that is kept waits, with this schedule. */
  longestMs: number;
}

const schedule = { initialDelay: 0, jitter: 0, maxDelay: "2h" };
const HOURS_2 = 7_200_000;
const ways: Way[] = [
  {
    how: "maxAttempts",
    error: new Error("down"),
    retry: { ...schedule, maxAttempts: 2 },
    runs: 2,
    longestMs: HOURS_2,
  },
  {
    how: "a policy that returns false",
    error: new Error("down"),
    retry: (_error, attempt) => (attempt < 2 ? 0 : false),
    runs: 2,
    longestMs: 600_000,
  },
  { how: "an UnrecoverableError", error: new UnrecoverableError("no"), retry: schedule, runs: 1, longestMs: HOURS_2 },
];
const TOLD = ["failed", "dead", "blocked", "parked"] as const;
type Told = { [Name in (typeof TOLD)[number]]: [Name, OutboxEvents[Name]] }[(typeof TOLD)[number]];

describeEachEngine("a keep-order head that is exhausted", (engine) => {
  const outboxes = useOutboxes(engine);

  function open(onExhausted: OnExhausted, { error, retry }: Way, options: Parameters<typeof outboxes.open>[0] = {}) {
    const outbox = outboxes.open(options);
    const failing = new Set<string>();
    const tried: string[] = [];
    const ran: string[] = [];
    const told: Told[] = [];
    for (const name of TOLD) outbox.on(name, (event) => void told.push([name, event] as Told));
    const publish = outbox.saveToOutbox(
      async (key: string, n: number) => {
        const call = `${key}${n}`;
        tried.push(call);
        if (failing.has(call)) throw error;
        ran.push(call);
      },
      { name: "publish", strategy: "keep-order", stream: "orders", orderingKey: (key) => key, retry, onExhausted },
    );
    const save = async (key: string, from: number, to: number) => {
      const saved: string[] = [];
      await outbox.transaction(async () => {
        for (let n = from; n <= to; n++) saved.push((await publish(key, n)).id);
      });
      return saved;
    };
    const ofKey = (calls: readonly string[], key: string) => calls.filter((call) => call.startsWith(key));
    const states = async () => (await outbox.calls.list({ orderingKey: "a" })).map(({ state }) => state);
    const dueNow = async () => {
      const due_at = outboxes.knex.raw(outboxes.dialect.now);
      await outboxes.table("keys").where({ state: "blocked" }).update({ due_at });
      await outboxes.table("calls").where({ state: "held" }).update({ due_at });
    };
    return { outbox, save, failing, tried, ran, told, ofKey, states, dueNow };
  }

  /** The last of the passes after which the second of three calls is exhausted; another key's run beside them. */
  async function exhausted(onExhausted: OnExhausted, way: Way, options?: Parameters<typeof outboxes.open>[0]) {
    const parts = open(onExhausted, way, options);
    const { outbox, save, failing, told, tried, ofKey } = parts;
    failing.add("a2");
    const [, id] = await save("a", 1, 3);
    await save("b", 1, 3);
    for (let run = 1; run < way.runs; run++) {
      expect(await outbox.relay()).toMatchObject({ failed: 1, dead: 0, blockedCount: 1 });
      expect(told.splice(0).map(([name]) => name)).toEqual(["failed", "blocked"]);
    }
    // The others have run beside the first attempt.
    const others = way.runs === 1 ? 4 : 0;
    const result = await outbox.relay();
    const head = (await outboxes.rows()).find((row) => row.id === id);
    expect(head).toMatchObject({ attempts: way.runs, lastError: expect.stringContaining(way.error.message) as string });
    expect(ofKey(tried, "a").slice(0, 1 + way.runs)).toEqual(["a1", ...Array<string>(way.runs).fill("a2")]);
    return { ...parts, id: id!, head: head!, result, others };
  }

  function expectAhead(moment: Date | undefined, ms: number): void {
    expect(Math.abs(moment!.getTime() - Date.now() - ms)).toBeLessThan(30_000);
  }

  describe.each(ways)("by $how", (way) => {
    const { error, runs, longestMs } = way;

    it("blocks its key: it is tried again at the longest delay, for ever", async () => {
      const { outbox, save, id, head, result, others, told, ran, failing, ofKey, states, dueNow } = await exhausted(
        "block",
        way,
      );
      const aside = { stream: "orders", orderingKey: "a", id };
      expect(result).toMatchObject({ published: others, failed: 1, dead: 0, blocked: [aside], blockedCount: 1 });
      expect(head.state).toBe("held");
      expect(told).toMatchObject([
        ["failed", { call: { id }, attempt: runs, error }],
        ["blocked", { call: { id }, error }],
      ]);
      for (const [, event] of told) expectAhead((event as OutboxEvents["blocked"]).nextAttemptAt, longestMs);
      expectAhead((await outbox.calls.get(id))!.dueAt, longestMs);

      await save("a", 4, 4);
      expect(await outbox.relay()).toMatchObject({ published: 0, failed: 0 });
      expect(await states()).toEqual(["blocked", "waiting", "waiting"]);
      await dueNow();
      expect(await outbox.relay()).toMatchObject({ published: 0, failed: 1, blockedCount: 1 });
      expect((await outboxes.rows())[0]).toMatchObject({ id, state: "held", attempts: runs + 1 });
      expectAhead((await outbox.calls.get(id))!.dueAt, longestMs);
      failing.clear();
      await dueNow();
      expect(await outbox.relay()).toMatchObject({ published: 3 });
      expect(ofKey(ran, "a")).toEqual(["a1", "a2", "a3", "a4"]);
      expect(await outboxes.rows()).toEqual([]);
      expect(await outboxes.table("keys")).toEqual([]);
    });

    it("parks its key, with what comes later, until it is resumed: in order, the schedule begun anew", async () => {
      const { outbox, save, id, head, result, others, told, tried, ran, failing, ofKey, states } = await exhausted(
        "park",
        way,
      );
      const aside = { stream: "orders", orderingKey: "a", id };
      expect(result).toMatchObject({ published: others, failed: 1, dead: 0, blocked: [aside], blockedCount: 1 });
      expect(head.state).toBe("held");
      expect(told.map(([name]) => name)).toEqual(["failed", "parked"]);
      expect(told).toMatchObject([
        ["failed", { call: { id }, attempt: runs, error }],
        ["parked", { call: { id }, error }],
      ]);
      for (const [, event] of told) expect(event).not.toHaveProperty("nextAttemptAt");
      expect(await states()).toEqual(["parked", "parked"]);

      failing.clear();
      tried.length = 0;
      await save("a", 4, 5);
      await save("b", 4, 4);
      expect(await outbox.relay()).toMatchObject({ published: 1, failed: 0, blockedCount: 0 });
      expect(await outbox.relay()).toMatchObject({ published: 0 });
      expect(tried).toEqual(["b4"]);
      expect(await states()).toEqual(["parked", "parked", "parked", "parked"]);
      expect(await outbox.streams.list()).toMatchObject([{ pending: 4, due: 0, parked: 4, parkedKeys: 1 }]);
      const key = { stream: "orders", orderingKey: "a" };
      expect(await outbox.keys.retryHead(key)).toBeUndefined();
      expect(await outbox.calls.retry(id)).toEqual({ retried: 0 });

      failing.add("a2");
      expect(await outbox.keys.resume(key)).toEqual({ resumed: true });
      expect(await outbox.calls.get(id)).toMatchObject({ attempts: 0 });
      for (let run = 1; run <= runs; run++) {
        expect(await outbox.relay()).toMatchObject({ published: 0, failed: 1 });
        expect(await outbox.calls.get(id)).toMatchObject({ attempts: run, state: run < runs ? "blocked" : "parked" });
      }
      failing.clear();
      expect(await outbox.keys.resume(key)).toEqual({ resumed: true });
      expect(await outbox.keys.resume(key)).toEqual({ resumed: false });
      expect(await outbox.relay()).toMatchObject({ published: 4, failed: 0 });
      expect(ofKey(ran, "a")).toEqual(["a1", "a2", "a3", "a4", "a5"]);
      expect(await outboxes.rows()).toEqual([]);
      expect(await outboxes.table("keys")).toEqual([]);
    });

    it("is skipped: it goes dead, the next one runs, and a person's retry brings it back", async () => {
      const { outbox, save, id, head, result, others, told, tried, ran, failing, ofKey } = await exhausted("skip", way);
      // The one behind it follows in the same pass.
      expect(result).toMatchObject({ published: others + 1, failed: 0, dead: 1, blocked: [], blockedCount: 0 });
      expect(head.state).toBe("dead");
      expect(told.map(([name]) => name)).toEqual(["failed", "dead"]);
      expect(told).toMatchObject([
        ["failed", { call: { id }, attempt: runs, error }],
        ["dead", { call: { id }, attempt: runs, error }],
      ]);
      for (const [, event] of told) expect(event).not.toHaveProperty("nextAttemptAt");
      expect(ofKey(tried, "a")).toEqual(["a1", ...Array<string>(runs).fill("a2"), "a3"]);
      expect(await outbox.calls.get(id)).toMatchObject({ state: "dead", settledAt: expect.any(Date) as Date });
      expect(await outbox.relay()).toMatchObject({ published: 0, dead: 0 });

      await save("a", 4, 4);
      expect(await outbox.calls.retry(id)).toEqual({ retried: 1 });
      expect(await outbox.calls.get(id)).toMatchObject({ attempts: 0 });
      for (let run = 1; run <= runs; run++) {
        const isLast = run === runs;
        expect(await outbox.relay()).toMatchObject({ published: isLast ? 1 : 0, dead: isLast ? 1 : 0 });
        expect(await outbox.calls.get(id)).toMatchObject({ attempts: run, state: isLast ? "dead" : "blocked" });
      }
      await save("a", 5, 5);
      failing.clear();
      expect(await outbox.calls.retry(id)).toEqual({ retried: 1 });
      expect(await outbox.relay()).toMatchObject({ published: 2 });
      expect(ofKey(ran, "a")).toEqual(["a1", "a3", "a4", "a2", "a5"]);
      expect(await outboxes.rows()).toEqual([]);
      expect(await outboxes.table("keys")).toEqual([]);
    });
  });

  it.each<[OnExhausted, string[]]>([
    ["block", ["sent", "blocked", "waiting"]],
    ["park", ["sent", "parked", "parked"]],
    ["skip", ["sent", "dead", "sent"]],
  ])("stands among sent calls that are kept, which never run again: %s", async (onExhausted, expected) => {
    const { outbox, id, states, failing, tried, ran, ofKey, dueNow } = await exhausted(onExhausted, ways[0]!, {
      deleteAfterSend: false,
    });
    expect(await states()).toEqual(expected);
    failing.clear();
    if (onExhausted === "block") await dueNow();
    if (onExhausted === "park") await outbox.keys.resume({ stream: "orders", orderingKey: "a" });
    if (onExhausted === "skip") await outbox.calls.retry(id);
    await outbox.relay();
    expect(await states()).toEqual(["sent", "sent", "sent"]);
    expect(ofKey(ran, "a")).toEqual(onExhausted === "skip" ? ["a1", "a3", "a2"] : ["a1", "a2", "a3"]);
    expect(ofKey(tried, "b")).toEqual(["b1", "b2", "b3"]);
    expect(await outboxes.table("keys")).toEqual([]);
  });

  it("without an ordering key, parks the calls without one alone", async () => {
    const outbox = outboxes.open();
    const ran: number[] = [];
    let isDown = true;
    const run = async (n: number) => {
      if (isDown && n === 1) throw new UnrecoverableError("no");
      ran.push(n);
    };
    const options = { stream: "orders", strategy: "keep-order", onExhausted: "park" } as const;
    const plain = outbox.saveToOutbox(run, { name: "plain", ...options });
    const keyed = outbox.saveToOutbox(run, { name: "keyed", ...options, orderingKey: () => "a" });
    await outbox.transaction(async () => {
      for (const n of [1, 2]) await plain(n);
      for (const n of [3, 4]) await keyed(n);
    });
    const result = await outbox.relay();
    expect(result).toMatchObject({ published: 2, failed: 1, blockedCount: 1 });
    expect(result.blocked[0]).not.toHaveProperty("orderingKey");
    isDown = false;
    expect(await outbox.keys.resume({ stream: "orders", orderingKey: "a" })).toEqual({ resumed: false });
    expect(await outbox.relay()).toMatchObject({ published: 0 });
    expect(await outbox.keys.resume({ stream: "orders" })).toEqual({ resumed: true });
    expect(await outbox.relay()).toMatchObject({ published: 2 });
    expect(ran).toEqual([3, 4, 1, 2]);
  });
});

describe("onExhausted", () => {
  it.each<[why: string, options: FunctionOptions<[]>]>([
    ["for publish-on-commit", { strategy: "publish-on-commit", onExhausted: "park" }],
    ["for publish-on-commit, though it is what keep-order has by default", { onExhausted: "block" }],
    ["where it is a word that nobody knows", { strategy: "keep-order", onExhausted: "wait" as OnExhausted }],
  ])("is refused %s", (_why, options) => {
    const outbox = createOutbox({ knex: knexFactory({ client: "pg" }) });
    const wrap = () => outbox.saveToOutbox(() => undefined, { name: "refused", ...options });
    expect(wrap).toThrow(InvalidOptionError);
    expect(wrap).toThrow(/onExhausted/);
  });
});
