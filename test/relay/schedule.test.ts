import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { InvalidOptionError, type ScheduleOptions } from "../../src/index.js";
import { startSchedule } from "../../src/schedule.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { deferred, until } from "../support/waiting.js";

const HOUR = 3_600_000;

/** A schedule whose work is a test's own, with what it logged as errors. */
function start(options: ScheduleOptions, relay: () => Promise<unknown> = async () => {}, clean = relay) {
  const errors: string[] = [];
  const logger = {
    debug() {},
    info() {},
    warn() {},
    error: (_fields: object, message: string) => void errors.push(message),
  };
  return { schedule: startSchedule(options, { relay, clean }, logger), errors };
}

describe("a schedule", () => {
  beforeEach(() => void vi.useFakeTimers({ now: Date.UTC(2025, 0, 1) }));
  afterEach(() => void vi.useRealTimers());

  /** When passes began within so many milliseconds. */
  async function moments(options: ScheduleOptions, ms: number): Promise<string[]> {
    const begun: string[] = [];
    const { schedule } = start(options, async () => void begun.push(new Date().toISOString().slice(5, 19)));
    await vi.advanceTimersByTimeAsync(ms);
    await schedule.stop();
    expect(vi.getTimerCount()).toBe(0);
    return begun;
  }

  it("works at the moments of an expression with seconds", async () => {
    expect(await moments({ relay: "*/20 * * * * *" }, 60_000)).toEqual([
      "01-01T00:00:20",
      "01-01T00:00:40",
      "01-01T00:01:00",
    ]);
  });

  it("works at the moments of an expression without them", async () => {
    expect(await moments({ relay: "*/2 * * * *", timeZone: "UTC" }, 5 * 60_000)).toEqual([
      "01-01T00:02:00",
      "01-01T00:04:00",
    ]);
  });

  it("takes the hours for those of its time zone, also when that changes to summer time", async () => {
    const nine = { relay: "0 9 * * *" };
    expect(await moments({ ...nine, timeZone: "America/Sao_Paulo" }, 24 * HOUR)).toEqual(["01-01T12:00:00"]);
    vi.setSystemTime(Date.UTC(2025, 2, 29));
    expect(await moments({ ...nine, timeZone: "Europe/Lisbon" }, 48 * HOUR)).toEqual([
      "03-29T09:00:00",
      "03-30T08:00:00",
    ]);
  });

  it("waits for longer than a timer can", async () => {
    expect(await moments({ clean: "0 0 1 3 *", timeZone: "UTC" }, 60 * 24 * HOUR)).toEqual(["03-01T00:00:00"]);
  });

  it("does not begin a pass a second time where the timer was a little early", async () => {
    const begun: number[] = [];
    const { schedule } = start({ relay: "0 * * * * *" }, async () => void begun.push(Date.now()));
    await vi.advanceTimersByTimeAsync(59_000);
    vi.setSystemTime(Date.now() - 1);
    await vi.advanceTimersByTimeAsync(2000);
    expect(begun).toHaveLength(1);
    expect(begun[0]! % 60_000).toBe(0);
    await schedule.stop();
  });

  it("never runs two passes of a kind at once, and skips the moments that went by", async () => {
    const begun: string[] = [];
    let end = deferred();
    const { schedule } = start({ relay: "* * * * * *" }, async () => {
      begun.push(new Date().toISOString().slice(17, 19));
      await end.promise;
    });
    await vi.advanceTimersByTimeAsync(4500);
    expect(begun).toEqual(["01"]);
    end.resolve();
    end = deferred();
    await vi.advanceTimersByTimeAsync(600);
    expect(begun).toEqual(["01", "05"]);
    end.resolve();
    await schedule.stop();
  });

  it("relays and cleans beside each other", async () => {
    const begun: string[] = [];
    const end = deferred();
    const work = (name: string) => async () => {
      begun.push(name);
      await end.promise;
    };
    const { schedule } = start({ relay: "0 * * * * *", clean: "30 * * * * *" }, work("relay"), work("clean"));
    await vi.advanceTimersByTimeAsync(120_000);
    expect(begun.sort()).toEqual(["clean", "relay"]);
    end.resolve();
    await schedule.stop();
  });

  it("goes on after a pass that failed, and logs it", async () => {
    let passes = 0;
    const { schedule, errors } = start({ relay: "* * * * * *" }, async () => {
      passes += 1;
      throw new Error("down");
    });
    await vi.advanceTimersByTimeAsync(3000);
    expect(passes).toBe(3);
    expect(errors).toEqual(Array.from({ length: 3 }, () => expect.stringContaining('"relay" failed') as string));
    await schedule.stop();
  });

  it("stops once the running pass has ended, and begins no other", async () => {
    const end = deferred();
    let passes = 0;
    const { schedule } = start({ relay: "* * * * * *" }, async () => {
      passes += 1;
      await end.promise;
    });
    await vi.advanceTimersByTimeAsync(1000);
    let isStopped = false;
    const stopping = schedule.stop().then(() => (isStopped = true));
    await vi.advanceTimersByTimeAsync(5000);
    expect(isStopped).toBe(false);
    end.resolve();
    await stopping;
    await schedule.stop();
    await vi.advanceTimersByTimeAsync(5000);
    expect(passes).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it.each<[option: string, options: object]>([
    ["relay", { relay: "every minute" }],
    ["relay", { relay: "61 * * * *" }],
    ["relay", { relay: "" }],
    ["relay", { relay: "0 0 31 2 *" }],
    ["relay", { relay: new Date() }],
    ["clean", { relay: "* * * * *", clean: "* * *" }],
    ["timeZone", { relay: "* * * * *", timeZone: "Mars/Olympus_Mons" }],
    ["timeZone", { relay: "* * * * *", timeZone: "" }],
    ["schedule", {}],
    ["relays", { relays: "* * * * *" }],
  ])("is refused by the name of what is wrong: %s of %o", (option, options) => {
    expect(() => start(options)).toThrow(expect.objectContaining({ constructor: InvalidOptionError, option }));
    expect(vi.getTimerCount()).toBe(0);
  });
});

describeEachEngine("a schedule of an outbox", (engine) => {
  const outboxes = useOutboxes(engine);

  it("relays and cleans what is there", async () => {
    const outbox = outboxes.open({ deleteAfterSend: false, retention: 0 });
    const cleaned = deferred();
    outbox.on("cleaned", ({ deleted }) => {
      if (deleted > 0) cleaned.resolve();
    });
    const inOrder = outbox.saveToOutbox(async () => undefined, { name: "inOrder", strategy: "keep-order" });
    await outbox.transaction(() => inOrder());
    const schedule = outbox.schedule({ relay: "* * * * * *", clean: "* * * * * *", timeZone: "Asia/Tokyo" });
    await cleaned.promise;
    expect(await outboxes.rows()).toEqual([]);
    await schedule.stop();
  });

  it("is stopped with its outbox, when the pass that is going on has ended", async () => {
    const outbox = outboxes.open();
    const [started, end] = [deferred(), deferred()];
    let hasRun = false;
    const inOrder = outbox.saveToOutbox(
      async () => {
        started.resolve();
        await end.promise;
        hasRun = true;
      },
      { name: "inOrder", strategy: "keep-order" },
    );
    await outbox.transaction(() => inOrder());
    outbox.schedule({ relay: "* * * * * *" });
    await started.promise;
    const closing = outbox.close();
    end.resolve();
    await closing;
    expect(hasRun).toBe(true);
    await until("it is settled", async () => (await outboxes.rows()).length === 0);
  });
});
