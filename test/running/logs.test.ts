import pino from "pino";
import { describe, expect, it, vi } from "vitest";
import { Events } from "../../src/events.js";
import type { Logger, OutboxOptions } from "../../src/index.js";
import type { Outcome } from "../../src/run/run.js";
import { reportOutcome } from "../../src/strategies/report.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { until } from "../support/waiting.js";

const SECRET = "4111-1111-1111-1111";

type Line = Record<string, unknown> & { level: string; msg: string };

/** A real pino, at its most talkative unless another level is given, and what it wrote. */
function recorder(level = "trace") {
  const text: string[] = [];
  const logger = pino(
    { level, formatters: { level: (label) => ({ level: label }) } },
    { write: (line: string) => void text.push(line) },
  );
  return { logger, text, lines: () => text.map((line) => JSON.parse(line) as Line) };
}

describeEachEngine("the log", (engine) => {
  const outboxes = useOutboxes(engine);

  function open(options: Partial<OutboxOptions> = {}) {
    const recorded = recorder();
    return { ...recorded, outbox: outboxes.open({ logger: recorded.logger, ...options }) };
  }

  it("has one line per outcome, that says which call, of what, for the how manieth time, and how long", async () => {
    const { outbox, lines } = open({ retry: { initialDelay: 0, maxAttempts: 2 } });
    let fails = false;
    const act = outbox.saveToOutbox(
      async (_card: string) => {
        if (fails) throw new Error("down");
      },
      { name: "act", stream: "cards" },
    );
    const run = async () => {
      const saved = await outbox.transaction(() => act(SECRET));
      await outbox.idle();
      return saved.id;
    };
    const first = await run();
    fails = true;
    const second = await run();
    await until("it is dead", async () => (await outbox.relay()).dead === 1);
    const fields = { function: "act", stream: "cards", durationMs: expect.any(Number) as number };
    const err = expect.objectContaining({ message: "down" }) as object;
    expect(lines()).toMatchObject([
      { ...fields, level: "info", msg: "published", callId: first, attempt: 1, source: "commit" },
      { ...fields, level: "warn", msg: "failed", callId: second, attempt: 1, source: "commit", err },
      { ...fields, level: "error", msg: "dead", callId: second, attempt: 2, source: "relay", err },
    ]);
  });

  it("has one line per outcome of keep-order", async () => {
    const { outbox, lines } = open({ retry: { initialDelay: "1h" } });
    const act = outbox.saveToOutbox(
      async (n: number) => {
        if (n === 2) throw new Error("down");
      },
      { name: "act", stream: "cards", strategy: "keep-order" },
    );
    const ids = await outbox.transaction(async () => [(await act(1)).id, (await act(2)).id, (await act(3)).id]);
    await outbox.relay();
    expect(lines().map(({ msg, callId, attempt }) => [msg, callId, attempt])).toEqual([
      ["published", ids[0], 1],
      ["failed", ids[1], 1],
    ]);
  });

  it("never shows an argument: of a success, a failure, a death, a call that cannot be decoded or stored", async () => {
    const { outbox, text, lines } = open({
      lease: 1000,
      abandonAfter: 20,
      timeout: 10,
      retry: { initialDelay: 0, maxAttempts: 2 },
    });
    const card = { number: SECRET, holder: new Map([[SECRET, [SECRET]]]) };
    type Way = "succeeds" | "fails" | "hangs";
    const act = outbox.saveToOutbox(
      async (way: Way, _card: typeof card) => {
        if (way === "hangs") await new Promise(() => {});
        if (way === "fails") throw new Error("down");
      },
      { name: "act" },
    );
    const inOrder = outbox.saveToOutbox(act.original, {
      name: "inOrder",
      strategy: "keep-order",
      orderingKey: (way) => way,
    });
    const unstored = outbox.saveToOutbox(act.original, { name: "unstored", persist: "on-failure" });
    await outbox.transaction(async () => {
      for (const way of ["succeeds", "fails", "hangs"] as const) {
        await act(way, card);
        await inOrder(way, card);
        await unstored(way, card);
      }
    });
    await outbox.idle();
    while ((await outboxes.rows()).some((row) => row.state === "pending")) await outbox.relay();
    const told = (msg: string, functionName: string) =>
      lines().filter((line) => line.msg === msg && line["function"] === functionName).length;
    for (const name of ["act", "inOrder", "unstored"]) expect(told("published", name)).toBe(1);
    for (const name of ["act", "unstored"]) expect(told("dead", name)).toBe(2);

    await outboxes.table("calls").delete();
    await outboxes.table("keys").delete();
    const undecodable = [
      SECRET,
      `{"json": ["${SECRET}"`,
      `{"json": "${SECRET}"}`,
      `{"json":["x"],"meta":{"${SECRET}":1}}`,
    ];
    await outbox.transaction(async () => {
      for (const way of undecodable) {
        await act.with({ delay: "1h" })("succeeds", card);
        await inOrder.with({ delay: "1h", orderingKey: way.slice(-9) })("succeeds", card);
      }
    });
    for (const [index, { id }] of (await outboxes.rows()).entries()) {
      const due_at = outboxes.knex.raw(outboxes.dialect.now);
      await outboxes
        .table("calls")
        .where({ id })
        .update({ payload: undecodable[index >> 1], due_at });
    }
    const linesBefore = lines().length;
    await outbox.relay();
    expect(lines().length - linesBefore).toBe(8);
    expect((await outboxes.rows()).map(({ lastError }) => lastError)).toEqual(
      Array.from({ length: 8 }, () => expect.stringContaining("could not decode the payload") as string),
    );
    for (const { lastError } of await outboxes.rows()) expect(lastError).not.toContain(SECRET);

    await outboxes.knex.schema.renameTable(`${outboxes.tablePrefix}calls`, `${outboxes.tablePrefix}gone`);
    await outbox.transaction(() => unstored("fails", card));
    await outbox.idle();
    expect(lines().some(({ msg }) => msg.includes("could not be stored and are lost"))).toBe(true);
    await outboxes.knex.schema.renameTable(`${outboxes.tablePrefix}gone`, `${outboxes.tablePrefix}calls`);

    expect(text.join("\n")).not.toContain(SECRET);
  });

  it("is not given the line of a success where nobody is interested in those, and those of failures are there", async () => {
    const { logger, lines } = recorder("warn");
    const told = vi.spyOn(logger, "info");
    const asked = vi.spyOn(logger, "isLevelEnabled");
    const outbox = outboxes.open({ logger, retry: { initialDelay: "1h" } });
    const heard: string[] = [];
    outbox.on("published", ({ call }) => void heard.push(call.function));
    const options = { strategy: "keep-order", stream: "line" } as const;
    const work = async (fails: boolean) => {
      if (fails) throw new Error("down");
    };
    const act = outbox.saveToOutbox(work, { name: "act" });
    const inOrder = outbox.saveToOutbox(work, { ...options, name: "inOrder" });
    await outbox.transaction(() => Promise.all([act(false), act(true), inOrder(false), inOrder(true)]));
    await outbox.idle();
    await until("all have run", async () => {
      await outbox.relay();
      return heard.length === 2 && lines().length === 2;
    });
    expect(heard.sort()).toEqual(["act", "inOrder"]);
    expect(asked).toHaveBeenCalledWith("info");
    expect(told).not.toHaveBeenCalled();
    expect(
      lines()
        .map(({ msg, function: name }) => `${msg} ${String(name)}`)
        .sort(),
    ).toEqual(["failed act", "failed inOrder"]);
  });

  it.each([
    ["says that it is of interest", () => true],
    ["cannot say", () => undefined as unknown as boolean],
    [
      "throws",
      () => {
        throw new Error("no level");
      },
    ],
  ])("is given the line of a success where its `isLevelEnabled` %s", async (_, isLevelEnabled) => {
    const info = vi.fn();
    const silent = () => undefined;
    const outbox = outboxes.open({ logger: { debug: silent, info, warn: silent, error: silent, isLevelEnabled } });
    const act = outbox.saveToOutbox(async () => {}, { name: "act" });
    await outbox.transaction(() => act());
    await outbox.idle();
    expect(info).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ function: "act" }), "published");
  });

  it("may throw at every line, and harms nothing", async () => {
    const broken = () => {
      throw new Error("no space left on device");
    };
    const logger: Logger = { debug: broken, info: broken, warn: broken, error: broken };
    const outbox = outboxes.open({ logger, retry: { initialDelay: 0, maxAttempts: 2 } });
    const heard: string[] = [];
    for (const name of ["published", "failed", "dead"] as const) {
      outbox.on(name, () => {
        heard.push(name);
        throw new Error("and the listener throws, too");
      });
    }
    const act = outbox.saveToOutbox(
      async (fails: boolean) => {
        if (fails) throw new Error("down");
      },
      { name: "act" },
    );
    await outbox.transaction(() => Promise.all([act(false), act(true)]));
    await outbox.idle();
    await until("it is dead", async () => (await outbox.relay()).dead === 1);
    expect(heard.sort()).toEqual(["dead", "failed", "failed", "published"]);
    expect((await outboxes.rows()).map(({ state }) => state)).toEqual(["dead"]);
  });
});

describe("the line of a success", () => {
  /** `call` is made of a call and its arguments when it is asked for. */
  function outcome() {
    const made = vi.fn(() => ({ id: "1", function: "act", stream: "default" }) as Outcome["call"]);
    const result = { kind: "succeeded" } as const;
    const one: Outcome = {
      attempt: 1,
      durationMs: 1,
      result,
      get call() {
        return made();
      },
    };
    return { made, outcome: one };
  }

  it.each([
    ["is made", true, 1],
    ["is not made", false, 0],
  ])("%s where the logger answers %s", (_, isEnabled, times) => {
    const silent = () => undefined;
    const info = vi.fn();
    const logger: Logger = { debug: silent, info, warn: silent, error: silent, isLevelEnabled: () => isEnabled };
    const { made, outcome: ended } = outcome();
    reportOutcome({ events: new Events(logger), logger }, ended, "relay", undefined, false);
    expect(made).toHaveBeenCalledTimes(times);
    expect(info).toHaveBeenCalledTimes(times);
  });
});
