import pino from "pino";
import { expect, it } from "vitest";
import type { Logger, OutboxOptions } from "../../src/index.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { until } from "../support/waiting.js";

const SECRET = "4111-1111-1111-1111";

type Line = Record<string, unknown> & { level: string; msg: string };

/** A real pino at its most talkative, and what it wrote. */
function recorder() {
  const text: string[] = [];
  const logger = pino(
    { level: "trace", formatters: { level: (label) => ({ level: label }) } },
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
