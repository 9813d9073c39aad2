import { describe, expect, it } from "vitest";
import type { LogMethod, OutboxOptions } from "../../src/index.js";
import { engines } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { until } from "../support/waiting.js";
import { watchedClient } from "../support/watched-client.js";
import { wrap } from "./wrap.js";

const engine = engines.find(({ name }) => name === "postgresql")!;

const RUN = "the function";
const LOOK = /^select held\.is_unchanged/;
/** Whatever runs within a test was not found by a relayer's polling. */
const patient = { pollInterval: "1h" } as const;

describe.skipIf(engine.skipReason !== undefined)("a stream that has nothing left", () => {
  const outboxes = useOutboxes(engine);

  const streams = () => outboxes.table("streams");
  const isKept = async () => (await streams().whereNotNull("lease_token")).length === 1;
  /** Long before it would be anyway. */
  const isGivenBack = () => until("the stream is given back", async () => !(await isKept()), 2000);

  /** An outbox whose relayer hears others and has served the stream, with what it sent since. */
  async function serve(options: Partial<OutboxOptions> = {}) {
    const lines: string[] = [];
    const log: LogMethod = (_fields, message) => void lines.push(message);
    const logger = { debug: log, info: log, warn: log, error: log };
    const statements: string[] = [];
    const client = watchedClient(outboxes.knex, ({ sql }) => void statements.push(sql));
    const outbox = outboxes.open({ ...patient, logger, knex: outboxes.database.newKnex!({ client }), ...options });
    const { ran, publish } = wrap(outbox, () => void statements.push(RUN));
    const relayer = outbox.startRelayer();
    const rival = outboxes.openRival(patient);
    const theirs = wrap(rival);
    const commit = (n: number) => rival.transaction(() => theirs.publish(n));
    if (options.wakeUps?.notify === false) await outbox.transaction(() => publish(0));
    else {
      await until("it hears", () => lines.some((line) => line.includes("is heard by NOTIFY")));
      await commit(0);
    }
    await until("it ran", () => ran.includes(0));
    /** It was looked at twice since the last run, in vain: the second time to keep it. */
    const isQuiet = () =>
      until("the stream is quiet", async () => {
        const since = statements.slice(statements.lastIndexOf(RUN));
        return since.filter((sql) => LOOK.test(sql)).length >= 2 && (await isKept());
      });
    return { isQuiet, outbox, relayer, rival, commit, ran, theirs: theirs.ran, statements };
  }

  it("is kept, and one statement comes before the next call is run", async () => {
    const { isQuiet, commit, ran, statements } = await serve();
    for (let n = 1; n <= 5; n++) {
      await isQuiet();
      statements.length = 0;
      await commit(n);
      await until("it ran", () => ran.includes(n));
      const before = statements.slice(0, statements.indexOf(RUN));
      // A poll, which is the same statement, may have come before the wake-up.
      expect(new Set(before)).toEqual(new Set([expect.stringMatching(LOOK)]));
      expect(before.length).toBeLessThanOrEqual(2);
    }
  });

  it("is given back when its relayer is stopped, and another process has it at once", async () => {
    const { isQuiet, relayer, rival, commit, ran } = await serve();
    await isQuiet();
    const began = performance.now();
    await relayer.stop();
    expect(performance.now() - began).toBeLessThan(900);
    expect(await isKept()).toBe(false);
    await commit(1);
    expect(await rival.relay()).toMatchObject({ published: 1 });
    expect(ran).toEqual([0]);
  });

  it("is no work that is waited for", async () => {
    const { isQuiet, outbox } = await serve();
    await isQuiet();
    await outbox.idle();
    expect(await isKept()).toBe(true);
  });

  it("is given back where nobody tells of what others commit", async () => {
    await serve({ wakeUps: { notify: false } });
    await isGivenBack();
  });

  it("is paused by a person in another process at once, and not kept then", async () => {
    const { isQuiet, rival, commit, ran } = await serve();
    await isQuiet();
    const began = performance.now();
    await rival.streams.pause("orders");
    // By a poll it would take a second.
    expect(performance.now() - began).toBeLessThan(900);
    await isGivenBack();
    await commit(1);
    await rival.streams.resume("orders");
    await until("it ran once resumed", () => ran.includes(1));
  });

  it("is taken over from a process that ended, and nothing of it is told to be lost", async () => {
    const { isQuiet, outbox, rival, commit, ran, theirs } = await serve();
    const lost: unknown[] = [];
    outbox.on("leaseLost", (event) => void lost.push(event));
    await isQuiet();
    await outboxes.stealLeases();
    await commit(1);
    await outboxes.expireLeases();
    await until("it ran", async () => (await rival.relay()).published > 0 || ran.length > 1);
    expect([...ran, ...theirs]).toEqual([0, 1]);
    expect(lost).toEqual([]);
  });
});
