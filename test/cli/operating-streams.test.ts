import { beforeEach, expect, it } from "vitest";
import type { SavedCall, StreamStatus } from "../../src/index.js";
import { describeEachServer } from "../support/outboxes.js";
import { freePort } from "../support/servers/free-port.js";
import { until } from "../support/waiting.js";
import { useApp, useShop } from "./shop.js";

const app = useApp();

describeEachServer("of the commands on streams and keys", (engine) => {
  const shop = useShop(engine);
  /** Stores a call of an ordering key of the stream "orders", which fails once in the test's process. */
  let publish: (key: string) => Promise<SavedCall>;
  beforeEach(() => {
    publish = shop.outbox.saveToOutbox(
      async (_: string) => {
        throw new Error("no\u001b[2J\nway");
      },
      { name: "publish", strategy: "keep-order", stream: "orders", orderingKey: (key) => key, retry: () => 3_600_000 },
    );
  });
  const carteiro = (...args: string[]) => app.run(args, shop.env);
  const said = (stdout: string) => ({ code: 0, stdout: `${stdout}\n`, stderr: "" });
  const refused = (stderr: string) => ({ code: 1, stdout: "", stderr: `NotDoneError: ${stderr}\n` });
  const status = async () => (await shop.outbox.streams.list())[0];
  const head = async () => (await shop.outbox.calls.list({ stream: "orders" }))[0];

  it("pause and resume a stream", async () => {
    await shop.order(1);
    expect(await carteiro("resume", "orders")).toEqual(refused('stream "orders": not paused'));
    expect(await carteiro("pause", "orders", "--reason", "the broker\u001b[2J moves")).toEqual(
      said('paused stream "orders"'),
    );
    expect(await status()).toMatchObject({ pausedReason: "the broker\u001b[2J moves" });
    const { stdout } = await carteiro("relay");
    expect(stdout).toMatch(/^published 0, /);
    expect((await carteiro("status")).stdout).toMatch(/\n {2}paused since \S+Z: the broker \[2J moves\n$/);
    expect(await carteiro("resume", "orders")).toEqual(said('resumed stream "orders"'));
    expect((await carteiro("relay")).stdout).toMatch(/^ordered 1\npublished 1, /);
  });

  it("pause tells what is still running", async () => {
    await shop.slow();
    await shop.slow();
    const relaying = app.start(["relay"], shop.env);
    await relaying.printed("slow began");
    const running = await until("it is served", async () => (await status())?.servedBy);
    expect((await carteiro("status")).stdout).toContain(`\n  served by ${running}\n`);
    expect(await carteiro("pause", "slow")).toEqual(said('paused stream "slow"; 1 call still running'));
    relaying.process.stdin.write("\n");
    expect((await relaying.ended).stdout).toContain("published 1, ");
    expect(await shop.outbox.calls.list()).toHaveLength(1);
  });

  it("park tells what is still running", async () => {
    await shop.slow();
    const relaying = app.start(["relay"], shop.env);
    await relaying.printed("slow began");
    const parked = 'parked the calls without a key of stream "slow"';
    expect(await carteiro("park", "slow")).toEqual(said(`${parked}; 1 call still running`));
    relaying.process.stdin.write("\n");
    expect((await relaying.ended).stdout).toContain("published 1, ");
    const gone = await carteiro("park", "slow");
    expect(gone).toMatchObject({ code: 0, stdout: `${parked}\n` });
  });

  it("pause and park warn of a name that no call has", async () => {
    await publish("Ana");
    const slip = 'careful: no call of stream "ordres" is stored just now; the streams with calls are orders; ';
    expect(await carteiro("pause", "ordres")).toEqual({
      ...said('paused stream "ordres"'),
      stderr: `${slip}carteiro resume takes the pause back\n`,
    });
    expect(await carteiro("pause", "ordres")).toEqual(said('paused stream "ordres"'));
    const parked = await carteiro("park", "orders", "--key", "Anna");
    expect(parked).toMatchObject({ code: 0, stdout: 'parked the key "Anna" of stream "orders"\n' });
    expect(parked.stderr).toMatch(/^careful: no call of the key "Anna" of stream "orders" is stored just now; .+\n$/);
  });

  it("park sets a key aside, and resume --key brings it back", async () => {
    await shop.order(1);
    await publish("Ana");
    expect(await carteiro("resume", "orders", "--key", "Ana")).toEqual(
      refused('the key "Ana" of stream "orders": not parked'),
    );
    expect(await carteiro("park", "orders", "--key", "Ana")).toEqual(said('parked the key "Ana" of stream "orders"'));
    expect(await carteiro("park", "orders")).toEqual(said('parked the calls without a key of stream "orders"'));
    expect((await carteiro("relay")).stdout).toMatch(/^published 0, /);
    expect(await status()).toMatchObject({ parkedKeys: 2, parked: 2 });
    expect((await carteiro("status")).stdout).toMatch(/\n {2}2 keys parked\n$/);
    expect(await carteiro("resume", "orders", "--key", "")).toEqual(
      said('resumed the calls without a key of stream "orders"'),
    );
    expect((await carteiro("relay")).stdout).toMatch(/^ordered 1\npublished 1, /);
    expect(await carteiro("resume", "orders", "--key", "Ana")).toEqual(
      said('resumed the key "Ana" of stream "orders"'),
    );
    expect(await status()).toMatchObject({ parkedKeys: 0 });
  });

  it("status shows a blocked head and its error, within a hundred columns", async () => {
    const { id } = await publish("Ana".repeat(30));
    await shop.outbox.relay();
    await shop.outbox.streams.pause("orders", { reason: "r".repeat(200) });
    const { stdout } = await carteiro("status");
    const lines = stdout.trimEnd().split("\n");
    expect(lines[2]).toMatch(/^ {2}paused since \S+Z: r+…$/);
    expect(lines[3]).toMatch(/^ {2}blocked since \S+Z: publish, key AnaAnaAna.*…$/);
    expect(lines[4]).toBe(`    ${id}, attempts 1: Error: no [2J`);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(100);
    const json = (await carteiro("status", "--json")).stdout;
    expect(json).not.toContain("\u001b");
    const [{ blockedHead }] = JSON.parse(json) as [StreamStatus];
    expect(blockedHead).toMatchObject({ id, attempts: 1, lastError: expect.stringContaining("\nway") as string });
  });

  it("retry-head makes a blocked call due", async () => {
    const { id } = await publish("Ana");
    expect(await carteiro("retry-head", "orders", "--key", "Ana")).toEqual(
      refused(
        'the key "Ana" of stream "orders": not blocked, or delayed, or parked; a delayed call runs when it is due, ' +
          "unless carteiro skip-head gives it up; carteiro resume --key brings a parked key back",
      ),
    );
    await shop.outbox.relay();
    expect(await head()).toMatchObject({ state: "blocked", attempts: 1 });
    expect(await carteiro("retry-head", "orders", "--key", "Ana")).toEqual(
      said(`due now: ${id}, the first call of the key "Ana" of stream "orders"`),
    );
    expect(await shop.outbox.relay()).toMatchObject({ failed: 1 });
  });

  it("retry-head leaves a delayed call, and status tells that its key waits", async () => {
    const later = shop.outbox.saveToOutbox(async () => {}, { name: "later", strategy: "keep-order", stream: "orders" });
    await later.with({ delay: "1h" })();
    await shop.outbox.relay();
    expect(await status()).toMatchObject({ waitingKeys: 1, blockedKeys: 0 });
    expect((await carteiro("status")).stdout).toMatch(/\n {2}1 key behind a delayed or unroutable call\n/);
    const { code, stdout, stderr } = await carteiro("retry-head", "orders");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/: not blocked, or delayed, or parked; /);
  });

  it("skip-head gives a call up, with --yes alone", async () => {
    const { id } = await publish("Ana");
    await publish("Ana");
    await shop.outbox.relay();
    const skip = ["skip-head", "orders", "--key", "Ana"];
    expect(await carteiro(...skip)).toEqual({
      code: 2,
      stdout: `would give up publish ${id} (blocked, attempts 1: Error: no [2J) of the key "Ana" of stream "orders"\n`,
      stderr: "UsageError: nothing was changed: --yes does it\n",
    });
    expect(await head()).toMatchObject({ id, state: "blocked" });
    expect(await carteiro(...skip, "--reason", "cancelled", "--yes")).toEqual(
      said(`given up: ${id}, the first call of the key "Ana" of stream "orders"`),
    );
    expect(await head()).toMatchObject({
      id,
      state: "dead",
      lastError: expect.stringContaining("cancelled") as string,
    });
    await carteiro(...skip, "--yes");
    const none = refused('the key "Ana" of stream "orders": there is no call that waits to be run');
    expect(await Promise.all([carteiro(...skip), carteiro(...skip, "--yes")])).toEqual([none, none]);
  });

  it("skip-head shows the very call that it gives up", async () => {
    const ids = [(await publish("Ana")).id, (await publish("Ana")).id];
    const skip = ["skip-head", "orders", "--key", "Ana"];
    expect((await carteiro(...skip, "--yes")).code).toBe(0);
    await shop.outbox.relay();
    expect((await carteiro(...skip)).stdout).toContain(`give up publish ${ids[1]} (blocked, `);
    await shop.outbox.calls.retry(ids[0]!);
    expect((await carteiro(...skip)).stdout).toContain(`give up publish ${ids[0]} (waiting, `);
    expect((await carteiro(...skip, "--yes")).stdout).toContain(`given up: ${ids[0]}, `);
  });

  it("skip-head leaves the key alone where another call than --id is the first one", async () => {
    const ids = [(await publish("Ana")).id, (await publish("Ana")).id] as const;
    const skip = ["skip-head", "orders", "--key", "Ana", "--id"];
    const isAnother = refused(
      `the key "Ana" of stream "orders": nothing was changed, since the first call is ${ids[0]} by now`,
    );
    expect(await Promise.all([carteiro(...skip, ids[1]), carteiro(...skip, ids[1], "--yes")])).toEqual([
      isAnother,
      isAnother,
    ]);
    expect((await carteiro(...skip, ids[0])).stdout).toContain(`would give up publish ${ids[0]} (due, `);
    const once = [...skip, ids[0].toUpperCase(), "--yes"];
    expect(await carteiro(...once)).toEqual(
      said(`given up: ${ids[0]}, the first call of the key "Ana" of stream "orders"`),
    );
    expect((await carteiro(...once)).stderr).toContain(`nothing was changed, since the first call is ${ids[1]} by now`);
    expect((await shop.outbox.calls.list()).map(({ state }) => state)).toEqual(["dead", "due"]);
    for (const consent of [[], ["--yes"]]) {
      const { code, stderr } = await carteiro(...skip, "17", ...consent);
      expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining("give the id of a call") as string });
    }
  });

  it("skip-head leaves a call that is running", async () => {
    const { id } = (await shop.slow()) as SavedCall;
    const relaying = app.start(["relay"], shop.env);
    await relaying.printed("slow began");
    expect(await carteiro("skip-head", "slow", "--yes")).toEqual(
      refused(`the calls without a key of stream "slow": the first call, ${id}, is running just now`),
    );
    relaying.process.stdin.write("\n");
    expect((await relaying.ended).stdout).toContain("published 1, ");
  });

  it("check tells what a person should look at, by its exit code too", async () => {
    expect(await carteiro("check")).toEqual(said("all is well"));
    await shop.order(1);
    await shop.strange();
    const [fine, late, many, both] = await Promise.all([
      carteiro("check", "--max-age", "1h", "--max-size", "1"),
      carteiro("check", "--max-age", "0"),
      carteiro("check", "--max-size", "0"),
      carteiro("check", "--json"),
    ]);
    const stranger = /^unroutable: 1 call of strange \(version 1\) in stream "strange": .+$/m;
    for (const { code, stdout, stderr } of [fine, late, many]) {
      expect({ code, stderr }).toEqual({ code: 1, stderr: "" });
      expect(stdout).toMatch(stranger);
    }
    expect(fine.stdout.split("\n")).toHaveLength(2);
    expect(late.stdout).toMatch(
      /^too-old: the oldest call of stream "orders" has been due for .+, and 0ms is the limit$/m,
    );
    expect(many.stdout).toMatch(/^too-many: stream "orders" has 1 pending call, and 0 is the limit$/m);
    expect(both.code).toBe(1);
    expect(JSON.parse(both.stdout)).toMatchObject([{ kind: "unroutable", stream: "strange" }]);
  });

  it("check fails where the database cannot be asked", async () => {
    const url = new URL(shop.env.URL);
    url.port = String(await freePort());
    const { code, stdout, stderr } = await app.run(["check"], { ...shop.env, URL: url.href });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/ECONNREFUSED.*\n$/);
  });
});
