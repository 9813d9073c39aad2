import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { tellWaiting } from "../../src/cli/waiting.js";
import type { Outbox, SavedCall } from "../../src/index.js";
import { dialectOf } from "../../src/store/own-connections.js";
import { describeEachServer } from "../support/outboxes.js";
import { hasTerminal } from "./app.js";
import { fakeScreen } from "./fake-screen.js";
import { useApp, useShop } from "./shop.js";

describe("a command that waits", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());
  const streams = [
    { stream: "mails", servedBy: "a 1" },
    { stream: "orders", servedBy: "b\u001b[2J 2" },
    { stream: "invoices", servedBy: "a 1" },
    { stream: "late" },
  ];
  function wait({ isTerminal = true, stream = undefined as string | undefined, list = vi.fn() } = {}) {
    list.mockResolvedValue(streams);
    const { screen, printed } = fakeScreen({ columns: isTerminal ? 80 : undefined });
    const outbox = { streams: { list } } as unknown as Pick<Outbox, "streams">;
    return { screen, printed, list, told: tellWaiting(outbox, screen, stream) };
  }
  const shown = (stdout: string) => stdout.split("\r\x1b[K").slice(1);

  it("tells after a second of silence whom it waits for, until it ends", async () => {
    const { printed, told } = wait({ stream: "orders" });
    await vi.advanceTimersByTimeAsync(900);
    told.again();
    await vi.advanceTimersByTimeAsync(900);
    expect(printed.stdout).toBe("");
    await vi.advanceTimersByTimeAsync(200);
    told.stop();
    await vi.advanceTimersByTimeAsync(5000);
    expect(shown(printed.stdout)).toEqual(["waiting for b [2J 2…", ""]);
  });

  it("names whoever serves a stream, where it may be any", async () => {
    const { printed } = wait();
    await vi.advanceTimersByTimeAsync(1000);
    expect(shown(printed.stdout)).toEqual(["waiting for a 1, b [2J 2…"]);
  });

  it("says nothing where nobody serves it, or the answer comes too late", async () => {
    const idle = wait({ stream: "late" });
    const { printed, told, list } = wait();
    let answer: (rows: typeof streams) => void = () => undefined;
    list.mockReturnValue(new Promise((resolve) => (answer = resolve)));
    await vi.advanceTimersByTimeAsync(1000);
    told.stop();
    answer(streams);
    await vi.advanceTimersByTimeAsync(0);
    expect(list).toHaveBeenCalledOnce();
    expect([idle.printed.stdout, printed.stdout]).toEqual(["", ""]);
  });

  it("asks nothing where there is no terminal", async () => {
    const { printed, list } = wait({ isTerminal: false });
    await vi.advanceTimersByTimeAsync(5000);
    expect(list).not.toHaveBeenCalled();
    expect(printed.stdout).toBe("");
  });
});

describe.skipIf(!hasTerminal())("on a terminal", () => {
  describeEachServer("a change", (engine) => {
    const app = useApp();
    const shop = useShop(engine);

    /** As if another process served the stream that answers to nothing. */
    async function serveElsewhere(stream: string) {
      const dialect = dialectOf(shop.knex);
      const table = dialect.quote(`${shop.env.TABLES}streams`);
      await shop.outbox.relay();
      await shop.outbox.streams.resume(stream);
      const set = (assignments: string) =>
        shop.knex.raw(`update ${table} set ${assignments} where stream = ?`, [stream]);
      await set(
        `lease_token = '0190f5d6-7e1c-7000-8000-3c2f1d9a5b77', holder = 'elsewhere 17', lease_until = ${dialect.after("3600000")}`,
      );
      return { crash: () => set(`lease_until = ${dialect.after("-1")}`) };
    }

    it.each(["pause slow", "park slow", "skip-head slow --yes", "discard --stream slow --yes"])(
      "that waits for an answer tells whose: %s",
      async (command) => {
        await shop.slow();
        await shop.outbox.streams.pause("slow");
        const holder = await serveElsewhere("slow");
        const changing = app.startOnTerminal(command.split(" "), shop.env);
        await changing.printed("waiting for elsewhere 17…");
        await holder.crash();
        const { code, stdout } = await changing.ended;
        expect(code).toBe(0);
        expect(stdout).toMatch(/\r\x1b\[K(paused|parked|given up:|discarded) .+\r\n$/);
      },
    );

    it("skip-head leaves the key alone where another call has become the first one", async () => {
      const ids = [((await shop.order(1)) as SavedCall).id, ((await shop.order(2)) as SavedCall).id];
      const asking = app.startOnTerminal(["skip-head", "orders"], shop.env);
      await asking.printed(`give up order ${ids[0]} (due, attempts 0)`);
      await shop.outbox.calls.discard(ids[0]!);
      asking.process.stdin.write("y\n");
      const { code, stdout } = await asking.ended;
      expect(code).toBe(1);
      expect(stdout).toContain(`nothing was changed, since the first call is ${ids[1]} by now`);
      expect((await shop.outbox.calls.list()).map(({ id, state }) => [id, state])).toEqual([[ids[1], "due"]]);
    });
  });
});
