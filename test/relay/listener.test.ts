import { afterEach, describe, expect, it } from "vitest";
import { Listener, type ListenerOptions } from "../../src/relay/listener.js";
import type { Listening } from "../../src/store/listen.js";
import { engines } from "../support/databases.js";
import { startFaultProxy } from "../faults/fault-proxy.js";
import { useStore } from "../store/support.js";
import { deferred, until } from "../support/waiting.js";

let stop: () => Promise<unknown> = () => Promise.resolve();
afterEach(() => stop());

function start(options: Pick<ListenerOptions, "store"> & Partial<ListenerOptions>) {
  const seen: { lines: string[]; messages: string[]; hearings: number } = { lines: [], messages: [], hearings: 0 };
  const log = (_fields: object, message: string) => void seen.lines.push(message);
  const listener = new Listener({
    logger: { debug() {}, info: log, warn: log, error: log },
    onMessage: (message) => void seen.messages.push(message),
    onHearing: () => void (seen.hearings += 1),
    testMs: 50,
    testEveryMs: 60_000,
    ...options,
  });
  stop = () => listener.stop();
  return { listener, seen };
}

/** One channel: what is sent arrives where a connection is open, unless it is deaf. */
function channel() {
  const state = { isDeaf: false, isDown: false, opened: 0, closed: 0, tests: 0 };
  const open = new Set<{ heard: (text: string) => void; end: () => void }>();
  const store: ListenerOptions["store"] = {
    listen(heard): Promise<Listening> {
      if (state.isDown) return Promise.reject(new Error("down"));
      state.opened += 1;
      const ended = deferred();
      const link = { heard, end: () => ended.resolve() };
      open.add(link);
      return Promise.resolve({
        ended: ended.promise,
        close() {
          open.delete(link);
          state.closed += 1;
          ended.resolve();
          return Promise.resolve();
        },
      });
    },
    notify(texts) {
      if (state.isDown) return Promise.reject(new Error("down"));
      state.tests += 1;
      if (!state.isDeaf) for (const { heard } of open) texts.forEach((text) => heard(text));
      return Promise.resolve();
    },
  };
  const cut = () => {
    for (const link of open) {
      open.delete(link);
      link.end();
    }
  };
  const send = (text: string) => open.forEach(({ heard }) => heard(text));
  return { state, store, cut, send };
}

it("hands on what it hears, but no test, and closes its connection when it is stopped", async () => {
  const { state, store, send } = channel();
  const { listener, seen } = start({ store });
  expect(listener.isHearing).toBe(false);
  await until("it hears", () => listener.isHearing);
  send("a");
  send("test of another process");
  await listener.stop();
  expect(seen).toEqual({ lines: [], messages: ["a"], hearings: 1 });
  expect(listener.isHearing).toBe(false);
  expect(state).toMatchObject({ opened: 1, closed: 1, tests: 1 });
});

it("opens another connection when one ends, and tells that something may have been missed", async () => {
  const { state, store, cut } = channel();
  const { listener, seen } = start({ store });
  await until("it hears", () => listener.isHearing);
  state.isDown = true;
  cut();
  await until("it says so", () => seen.lines.length === 1);
  expect(listener.isHearing).toBe(false);
  state.isDown = false;
  await until("it hears again", () => listener.isHearing);
  expect(seen.hearings).toBe(2);
  expect(seen.lines).toEqual([
    "listening for NOTIFY failed, and is tried again; until then what other processes commit is found by polling",
    "what other processes commit is heard by NOTIFY again",
  ]);
});

it("says once that nothing arrives, what to do, and listens no more for the time being", async () => {
  const { state, store } = channel();
  state.isDeaf = true;
  const { listener, seen } = start({ store });
  await until("it says so", () => seen.lines.length === 1);
  expect(seen.lines[0]).toMatch(/PgBouncer in transaction mode: .* found by polling\. .*wakeUps: \{ notify: false \}/);
  await until("its connection is closed", () => state.closed === 1);
  expect([listener.isHearing, seen.hearings, state.opened]).toEqual([false, 0, 1]);
});

it("tests itself again and again, once each time", async () => {
  const { state, store } = channel();
  const { listener, seen } = start({ store, testEveryMs: 20 });
  const from = performance.now();
  await until("it has tested itself five times", () => state.tests === 5);
  expect(performance.now() - from).toBeGreaterThan(70);
  state.isDeaf = true;
  await until("it notices", () => seen.lines.length > 0);
  state.isDeaf = false;
  await until("it hears again", () => listener.isHearing);
  expect(seen.hearings).toBe(2);
});

const engine = engines.find(({ name }) => name === "postgresql")!;

describe.skipIf(engine.skipReason !== undefined)("on a server", () => {
  const under = useStore(engine);

  it("a link that died without a word is noticed, and another one opened", async () => {
    const proxy = await startFaultProxy(under.database.connection!.url);
    const proxied = under.openAnother({ knex: under.database.newKnex!({ connection: proxy.url }) });
    try {
      const store = { listen: proxied.listen, notify: under.store.notify };
      const { listener, seen } = start({ store, testMs: 200, testEveryMs: 50 });
      await until("it hears", () => listener.isHearing);
      proxy.set("swallow");
      await until("it notices", () => seen.lines.length === 1);
      proxy.set("pass");
      await until("it hears again", () => listener.isHearing);
      await under.store.notify(["a"]);
      await until("the message came", () => seen.messages.includes("a"));
      expect(seen.hearings).toBe(2);
      await listener.stop();
    } finally {
      await proxied.close();
      await proxy.close();
    }
  });

  it("hears on once its table was made anew, which has another number then", async () => {
    const { listener, seen } = start({ store: under.store, testMs: 500, testEveryMs: 50 });
    await until("it hears", () => listener.isHearing);
    const { calls } = under.tables;
    await under.knex.raw(`alter table ${calls} rename to old_calls`);
    await under.knex.raw(`create table ${calls} (like old_calls including all)`);
    await until("it notices", () => seen.hearings === 2);
    await under.store.notify(["a"]);
    await until("the message came", () => seen.messages.includes("a"));
    await under.knex.raw(`drop table ${calls}`);
    await under.knex.raw(`alter table old_calls rename to ${calls.split(".").at(-1)}`);
  });
});
