import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { EVERYTHING, Messages } from "../../src/relay/messages.js";
import { Notifier } from "../../src/relay/notifier.js";
import { deferred } from "../support/waiting.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const silent = { debug() {}, info() {}, warn() {}, error() {} };

function start(answer: () => Promise<void> = () => Promise.resolve()) {
  const statements: string[][] = [];
  const notify = (messages: readonly string[]) => {
    statements.push([...messages]);
    return answer();
  };
  return { statements, notifier: new Notifier({ store: { notify }, logger: silent }) };
}

it("sends at once, each message once, and what comes meanwhile together", async () => {
  const answers = [deferred(), deferred()];
  let sent = 0;
  const { statements, notifier } = start(() => answers[sent++]?.promise ?? Promise.resolve());
  notifier.tell(["a"]);
  notifier.tell(["b"]);
  notifier.tell(["a"]);
  await vi.advanceTimersByTimeAsync(0);
  expect(statements).toEqual([["a", "b"]]);
  for (const message of ["a", "c", "a"]) notifier.tell([message]);
  await vi.advanceTimersByTimeAsync(100);
  expect(statements).toHaveLength(1);
  answers[0]!.resolve();
  await vi.advanceTimersByTimeAsync(1);
  expect(statements).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(statements.slice(1)).toEqual([["a", "c"]]);
  answers[1]!.resolve();
  await vi.advanceTimersByTimeAsync(100);
  notifier.tell(["d", "e"]);
  await vi.advanceTimersByTimeAsync(0);
  expect(statements.slice(2)).toEqual([["d", "e"]]);
});

it("sends fewer statements the more commits there are, one in 16 ms at last, and soon again when there are few", async () => {
  const { statements, notifier } = start();
  const during = async (ms: number, commits: number) => {
    const before = statements.length;
    for (let passed = 0; passed < ms; passed++) {
      for (let n = 0; n < commits; n++) notifier.tell(["a"]);
      await vi.advanceTimersByTimeAsync(1);
    }
    return statements.length - before;
  };
  await during(100, 10);
  expect(await during(320, 10)).toBe(20);
  await vi.advanceTimersByTimeAsync(100);
  const answered = async () => {
    const before = statements.length;
    notifier.tell(["a"]);
    await vi.advanceTimersByTimeAsync(0);
    const isAtOnce = statements.length > before;
    await vi.advanceTimersByTimeAsync(3);
    return isAtOnce;
  };
  for (let n = 0; n < 10; n++) expect(await answered()).toBe(true);
});

it("tells of everything instead of too many streams", async () => {
  const { statements, notifier } = start();
  for (let n = 0; n < 1000; n++) notifier.tell([`${n}`]);
  await vi.advanceTimersByTimeAsync(0);
  expect(statements[0]!.length).toBeLessThanOrEqual(100);
  expect(statements[0]).toContain(EVERYTHING);
});

it("sends what waits when it is closed, without a pause, and nothing that comes later", async () => {
  const { statements, notifier } = start();
  notifier.tell(["a"]);
  await vi.advanceTimersByTimeAsync(0);
  notifier.tell(["b"]);
  await notifier.close();
  notifier.tell(["c"]);
  await vi.advanceTimersByTimeAsync(100);
  expect(statements).toEqual([["a"], ["b"]]);
  expect(vi.getTimerCount()).toBe(0);
});

it("goes on after a statement that failed", async () => {
  let isDown = true;
  const { statements, notifier } = start(() => (isDown ? Promise.reject(new Error("down")) : Promise.resolve()));
  notifier.tell(["a"]);
  await vi.advanceTimersByTimeAsync(10);
  isDown = false;
  notifier.tell(["b"]);
  await vi.advanceTimersByTimeAsync(10);
  expect(statements).toEqual([["a"], ["b"]]);
});

it("messages of others are read, whatever a stream is called; those of its own are nothing new", () => {
  const [own, theirs] = [new Messages(), new Messages()];
  for (const stream of ["orders", "a b", "keep-order x", "ähm 🙂", "x".repeat(200)]) {
    for (const strategy of ["keep-order", "publish-on-commit"] as const) {
      const message = own.hasNew({ stream, strategy });
      expect(theirs.read(message)).toEqual({ stream, strategy });
      expect(own.read(message)).toBeUndefined();
    }
  }
  const longest = own.hasNew({ stream: "🙂".repeat(200), strategy: "publish-on-commit" });
  expect(Buffer.byteLength(longest)).toBeLessThan(8000);
  for (const unknown of ["", EVERYTHING, "x some-newer-strategy orders", "by hand"]) {
    expect(own.read(unknown)).toBe(EVERYTHING);
  }
});
