import { EventEmitter } from "node:events";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { describeError } from "../../src/cli/failure.js";
import { listenForInterruption } from "../../src/cli/interruption.js";
import { showProgress } from "../../src/cli/progress.js";
import { table } from "../../src/cli/table.js";
import { cut } from "../../src/cli/text.js";
import { Events } from "../../src/events.js";
import { type Call, type OutboxEvents, UnrecoverableError } from "../../src/index.js";
import { hasTerminal } from "./app.js";
import { describeEachServer } from "../support/outboxes.js";
import { fakeScreen } from "./fake-screen.js";
import { useApp, useShop } from "./shop.js";

const call: Call = {
  id: "0190",
  function: "greet",
  stream: "default",
  strategy: "publish-on-commit",
  args: [],
  headers: {},
  createdAt: new Date(0),
};
const run = { call, source: "relay", attempt: 2, durationMs: 1 } as const;

describe("progress", () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: 0 });
  });
  afterEach(() => {
    vi.useRealTimers();
  });
  function watch(columns?: number) {
    const { screen, printed } = fakeScreen({ columns });
    const logged = vi.fn();
    const logger = { debug: logged, info: logged, warn: logged, error: logged };
    const events = new Events(logger);
    const progress = showProgress({ on: (name, listener) => events.on(name, listener) }, screen);
    const emit = <Name extends keyof OutboxEvents>(name: Name, event: OutboxEvents[Name], times = 1) => {
      for (let time = 0; time < times; time++) events.emit(name, event);
    };
    return { screen, printed, progress, emit, logged };
  }
  const shown = (stdout: string) => stdout.split("\r\x1b[K").slice(1);

  it("rewrites one line on a terminal, and takes it away at the end", () => {
    const { printed, progress, emit } = watch(80);
    vi.advanceTimersByTime(100);
    emit("published", run, 30);
    vi.advanceTimersByTime(100);
    emit("published", run, 30);
    emit("failed", { ...run, error: 1 });
    emit("dead", { ...run, error: 1 });
    emit("failed", { ...run, error: 1 });
    emit("parked", { call, error: 1 });
    emit("failed", { ...run, error: 1, nextAttemptAt: new Date(1) });
    vi.advanceTimersByTime(200);
    progress.stop();
    vi.advanceTimersByTime(1000);
    const lines = shown(printed.stdout);
    expect(lines[0]).toBe("0 published, 0/s, 0 failed");
    expect(lines[1]).toBe("30 published, 300/s, 0 failed");
    expect(lines.at(-2)).toBe("60 published, 200/s, 2 failed, 1 dead");
    expect(lines.at(-1)).toBe("");
    expect(printed.stdout).not.toContain("\n");
  });

  it("tells the rate of the last seconds", () => {
    const { printed, emit } = watch(80);
    vi.advanceTimersByTime(100);
    emit("published", run, 1000);
    vi.advanceTimersByTime(20_000);
    emit("published", run, 8);
    vi.advanceTimersByTime(2000);
    expect(shown(printed.stdout).at(-1)).toBe("1008 published, 1.6/s, 0 failed");
  });

  it("cuts the line to the terminal's width, and keeps it below what is printed", () => {
    const { screen, printed } = watch(12);
    vi.advanceTimersByTime(100);
    screen.print("a result");
    expect(printed.stdout).toBe("\r\x1b[K0 publishe…\r\x1b[Ka result\n0 publishe…");
    screen.warn("a warning");
    expect(printed.stderr).toBe("a warning\n");
    expect(printed.stdout).toMatch(/0 publishe…\r\x1b\[K0 publishe…$/);
  });

  it("logs a line now and then elsewhere, only where something happened", () => {
    const { printed, progress, emit } = watch();
    vi.advanceTimersByTime(30_000);
    expect(printed.stdout).toBe("");
    emit("published", run, 2);
    emit("unroutable", call);
    vi.advanceTimersByTime(30_000);
    expect(printed.stdout).toBe("1970-01-01T00:00:40.000Z published 2, failed 0, dead 0, unroutable 1\n");
    progress.stop();
    emit("published", run);
    vi.advanceTimersByTime(30_000);
    expect(progress.tally.published).toBe(2);
  });

  it("tells troubles at once, each stranger once", () => {
    const { printed, emit, logged } = watch();
    const error = new TypeError("no\nway");
    emit("failed", { ...run, error, nextAttemptAt: new Date(0) });
    emit("failed", { ...run, error });
    emit("dead", { ...run, error });
    emit("blocked", { call, error, nextAttemptAt: new Date(0) });
    emit("blocked", { call, error });
    emit("parked", { call: { ...call, orderingKey: "An\x1ba" }, error });
    emit("unroutable", { ...call, function: "stran\x1bge" }, 2);
    emit("leaseLost", { stream: "orders" });
    emit("leaseLost", { stream: "default", call });
    expect(printed.stderr.split("\n")).toEqual([
      "failed greet 0190, attempt 2: TypeError: no way; next attempt at 1970-01-01T00:00:00.000Z",
      "dead greet 0190, attempt 2: TypeError: no way",
      "blocked greet 0190 until a person retries or skips it: TypeError: no way",
      'parked the key "An a" of stream "default" behind greet 0190 until a person resumes it: TypeError: no way',
      "unroutable stran ge of the stream default: the configuration registers no such function; import it there",
      "lost the lease of the stream orders: what was running will run again",
      "lost the lease of greet 0190: what was running will run again",
      "",
    ]);
    expect(logged).not.toHaveBeenCalled();
  });
});

describe("a table", () => {
  it("is as wide as its widest cells, also of wide characters, and coloured beside its padding", () => {
    const { screen } = fakeScreen({ columns: 80, hasColors: true });
    const { red } = screen.colors;
    const text = table(
      [
        { title: "name", value: ([name]) => name },
        { title: "n", value: ([, n]) => n, paint: (cell, [, n]) => (n > 9 ? red(cell) : cell) },
        { title: "end", value: () => "." },
      ],
      [
        ["東京", 1],
        ["Lisboa", 10],
      ] as [string, number][],
      screen.colors,
    );
    const bold = (cell: string) => `\x1b[1m${cell}\x1b[22m`;
    expect(text.split("\n")).toEqual([
      `${bold("name  ")}  ${bold(" n")}  ${bold("end")}`,
      "東京     1  .",
      `Lisboa  \x1b[31m10\x1b[39m  .`,
    ]);
  });

  it("cuts between characters", () => {
    expect(cut("Lisboa", 6)).toBe("Lisboa");
    expect(cut("Lisboa", 5)).toBe("Lisb…");
    expect(cut("東京都", 5)).toBe("東京…");
    expect(cut("👩‍👩‍👧👩‍👩‍👧", 3)).toBe("👩‍👩‍👧…");
  });
});

describe("an error's line", () => {
  it("has a name and a message, whatever was thrown", () => {
    const refused = (address: string) => new Error(`connect ECONNREFUSED ${address}`);
    const both = new AggregateError([refused("::1:5432"), refused("127.0.0.1:5432")]);
    expect(describeError(both)).toBe(
      "AggregateError: connect ECONNREFUSED ::1:5432; connect ECONNREFUSED 127.0.0.1:5432",
    );
    expect(describeError(Object.assign(new Error(), { code: "EPIPE" }))).toBe("Error: EPIPE");
    expect(describeError("no")).toBe("thrown: 'no'");
  });
});

describe("an interruption", () => {
  function listen(isTTY: boolean) {
    const { screen } = fakeScreen();
    const target = Object.assign(new EventEmitter(), { stdin: { isTTY }, exit: vi.fn() });
    return { target, signal: listenForInterruption(screen, target) };
  }

  it("comes twice for one Ctrl-C where npm passes it on", () => {
    const { target, signal } = listen(true);
    target.emit("SIGINT");
    target.emit("SIGINT");
    expect(signal.reason).toBe("SIGINT");
    expect(target.exit).not.toHaveBeenCalled();
    target.emit("SIGTERM");
    expect(target.exit).toHaveBeenCalledExactlyOnceWith(143);
  });

  it("counts each where there is no terminal", () => {
    const { target } = listen(false);
    target.emit("SIGINT");
    target.emit("SIGINT");
    expect(target.exit).toHaveBeenCalledExactlyOnceWith(130);
  });
});

describe.skipIf(!hasTerminal())("on a terminal", () => {
  describeEachServer("relay", (engine) => {
    const app = useApp();
    const shop = useShop(engine);

    it("shows its progress, and colours tables unless NO_COLOR is set", async () => {
      await shop.slow();
      const running = app.startOnTerminal(["relay"], shop.env);
      await running.printed("slow began");
      await running.printed("\r\x1b[K0 published, 0/s, 0 failed");
      running.process.stdin.write("\n");
      const { code, stdout } = await running.ended;
      expect(code).toBe(0);
      expect(stdout).toMatch(/\r\x1b\[K(published 1, failed 0, dead 0, unroutable 0, blocked keys 0)\r\n$/);

      await shop.order(1);
      const [coloured, plain] = await Promise.all([
        app.startOnTerminal(["status"], shop.env).ended,
        app.startOnTerminal(["status"], { ...shop.env, NO_COLOR: "1" }).ended,
      ]);
      expect(coloured.stdout).toContain("\x1b[1mstream");
      expect(plain.stdout).not.toContain("\x1b");
    });
  });

  describeEachServer("retry and discard", (engine) => {
    const app = useApp();
    const shop = useShop(engine);

    it("ask first, and show how far they are", async () => {
      const doom = shop.outbox.saveToOutbox(
        async () => {
          throw new UnrecoverableError("no");
        },
        { name: "doom" },
      );
      await shop.outbox.transaction(async () => {
        for (let n = 0; n < 2500; n++) await doom.with({ delay: "1h" })();
      });
      await shop.knex(`${shop.env.TABLES}calls`).update({ state: "dead" });
      const dead = async () => (await shop.outbox.calls.list({ state: "dead" })).length;

      for (const answer of ["n", "", "yesterday", "\u0004"]) {
        const asking = app.startOnTerminal(["retry", "--state", "dead"], shop.env);
        await asking.printed("retry 2500 calls? [y/N] ");
        asking.process.stdin.write(answer === "\u0004" ? answer : `${answer}\n`);
        const { code, stdout } = await asking.ended;
        expect(code).toBe(1);
        expect(stdout).toContain("NotDoneError: nothing was changed\r\n");
        expect(await dead()).toBe(100);
      }

      const retrying = app.startOnTerminal(["retry", "--state", "dead"], shop.env);
      await retrying.printed("? [y/N] ");
      retrying.process.stdin.write("y\n");
      const { code, stdout } = await retrying.ended;
      expect(code).toBe(0);
      const shown = Array.from(stdout.matchAll(/\r\x1b\[K(\[.*?\] .*?)(?=\r)/g), ([, line]) => line);
      expect(shown).toEqual([
        "[------------------------] 0%  0 of 2500",
        "[#########---------------] 40%  1000 of 2500",
        "[###################-----] 80%  2000 of 2500",
        "[########################] 100%  2500 of 2500",
      ]);
      expect(stdout).toMatch(/\r\x1b\[Kretried 2500 calls\r\n$/);
      expect(await dead()).toBe(0);

      const discarded = await app.startOnTerminal(["discard", "--function", "doom", "--yes"], shop.env).ended;
      expect(discarded.stdout).not.toContain("[y/N]");
      expect(discarded.stdout).toContain("] 100%  2500 of 2500");
      expect(await shop.outbox.calls.list()).toEqual([]);
    });
  });
});
