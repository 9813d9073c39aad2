import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { expect, it } from "vitest";
import { describeEachServer } from "../support/outboxes.js";
import { freePort } from "../support/servers/free-port.js";
import type { Running } from "./app.js";
import { useApp, useShop } from "./shop.js";

const FINISHING = "finishing the runs in flight";

const app = useApp();

describeEachServer("relaying from the command line", (engine) => {
  const shop = useShop(engine);
  const stored = async () => (await shop.outbox.calls.list()).map((call) => call.function);
  const start = (...args: string[]) => app.start(["relay", ...args], shop.env);
  const signal = async (running: Running, name: "SIGINT" | "SIGTERM") => {
    running.process.kill(name);
    await running.printed(FINISHING);
  };

  it("publishes calls that failed", async () => {
    await shop.fail("Ana", "Rui");
    await shop.order(1);
    const { code, stdout, stderr } = await start().ended;
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout.split("\n").toSorted()).toEqual([
      "",
      "greeted Ana",
      "greeted Rui",
      "ordered 1",
      "published 3, failed 0, dead 0, unroutable 0, blocked keys 0",
    ]);
    expect(await stored()).toEqual([]);
  });

  it("exits 0 when calls fail, and tells which and why", async () => {
    await shop.fail("Ana");
    await shop.refuse();
    await shop.strange();
    const { code, stdout, stderr } = await start().ended;
    expect(code).toBe(0);
    expect(stdout).toBe("greeted Ana\npublished 1, failed 1, dead 0, unroutable 1, blocked keys 0\n");
    const [first, second, ...rest] = stderr.split("\n").toSorted().slice(1);
    expect(first).toMatch(/^failed refuse [\da-f-]{36}, attempt 2: Error: no \[2J way; next attempt at \S+Z$/);
    expect(second).toMatch(/^unroutable strange of the stream strange: .*import it/);
    expect(rest).toEqual([]);
    expect(await stored()).toEqual(["refuse", "strange"]);
  });

  it("relays one stream", async () => {
    await shop.fail("Ana");
    await shop.order(1);
    const { code, stdout } = await start("--stream", "orders").ended;
    expect(code).toBe(0);
    expect(stdout).toBe("ordered 1\npublished 1, failed 0, dead 0, unroutable 0, blocked keys 0\n");
    expect(await stored()).toEqual(["greet"]);
  });

  it("finishes the run in flight of a single pass at SIGTERM, and starts no other", async () => {
    await shop.slow();
    await shop.slow();
    const running = start();
    await running.printed("slow began");
    await signal(running, "SIGTERM");
    running.process.stdin.write("\n");
    const { code, stdout } = await running.ended;
    expect(code).toBe(0);
    expect(stdout).toMatch(/^slow began\nslow ended\npublished 1, /);
    expect(await stored()).toEqual(["slow"]);
  });

  it.each(["SIGTERM", "SIGINT"] as const)("loops until %s, and finishes the run in flight", async (name) => {
    const running = start("--loop", "--interval", "20ms");
    await running.printed("relaying every stream until");
    await shop.fail("Ana");
    await running.printed("greeted Ana");
    await shop.slow();
    await running.printed("slow began");
    await signal(running, name);
    running.process.stdin.write("\n");
    const { code, stdout, stderr } = await running.ended;
    expect(code).toBe(0);
    expect(stdout).toContain("slow ended\n");
    expect(stdout).toMatch(/^\S+Z stopped: published 2, failed 0, dead 0, unroutable 0$/m);
    expect(stderr).toBe(`${name}: ${FINISHING}; a second signal ends them\n`);
    expect(await stored()).toEqual([]);
  });

  it.each([
    ["SIGTERM", 143],
    ["SIGINT", 130],
  ] as const)("ends at once at a second %s", async (name, exitCode) => {
    await shop.slow();
    const running = start("--loop");
    await running.printed("slow began");
    await signal(running, name);
    running.process.kill(name);
    const { code, stdout } = await running.ended;
    expect(code).toBe(exitCode);
    expect(stdout).not.toContain("slow ended");
    expect(await stored()).toEqual(["slow"]);
  });

  it("relays at the moments of a cron expression, for one stream", async () => {
    const running = start("--cron", "* * * * * *", "--stream", "orders");
    await running.printed("relaying the stream orders at");
    await shop.order(1);
    await running.printed("passed: published 1, ");
    await shop.fail("Ana");
    await shop.order(2);
    await running.printed("ordered 2");
    await signal(running, "SIGTERM");
    const { code, stdout } = await running.ended;
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\S+Z stopped: published 2, failed 0, dead 0, unroutable 0$/m);
    expect(await stored()).toEqual(["greet"]);
  });

  it("finishes the run in flight of a scheduled pass at SIGTERM", async () => {
    await shop.slow();
    const running = start("--cron", "* * * * * *");
    await running.printed("slow began");
    await signal(running, "SIGTERM");
    running.process.stdin.write("\n");
    expect(await running.ended).toMatchObject({ code: 0, stdout: expect.stringContaining("slow ended\n") as string });
    expect(await stored()).toEqual([]);
  });

  it("exits 1 with one line where the database is down", async () => {
    const URL = await elsewhere(shop.env.URL);
    const commands = ["migrate", "relay", "relay --loop", "relay --cron @hourly", "clean", "status", "list"];
    const ends = await Promise.all(commands.map((command) => app.run(command.split(" "), { ...shop.env, URL })));
    for (const { code, stdout, stderr } of ends) {
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toMatch(/^\w*Error: .*ECONNREFUSED.*\n$/);
    }
  });

  it("shows the stack on demand", async () => {
    const URL = await elsewhere(shop.env.URL);
    const [byOption, byEnvironment] = await Promise.all([
      app.run(["status", "--verbose"], { ...shop.env, URL }),
      app.run(["status"], { ...shop.env, URL, DEBUG: "1" }),
    ]);
    for (const { code, stderr } of [byOption, byEnvironment]) {
      expect(code).toBe(1);
      expect(stderr).toMatch(/ECONNREFUSED.*\n +at /);
    }
  });

  it("goes on after the database was away, and tells that it was", async () => {
    const link = await openLink(shop.env.URL);
    const running = app.start(["relay", "--loop", "--interval", "20ms"], { ...shop.env, URL: link.url });
    await running.printed("relaying every stream until");
    await link.cut();
    await running.printed("the relayer tries again: ");
    await shop.order(1);
    await link.mend();
    await running.printed("ordered 1");
    await signal(running, "SIGTERM");
    expect((await running.ended).code).toBe(0);
    await link.cut();
  });
});

/** The same address at a port that nobody listens on. */
async function elsewhere(url: string): Promise<string> {
  const address = new URL(url);
  address.host = `127.0.0.1:${await freePort()}`;
  return address.href;
}

/** A way to the database that can be cut. */
async function openLink(url: string): Promise<{ url: string; cut(): Promise<void>; mend(): Promise<void> }> {
  const target = new URL(url);
  const address = new URL(await elsewhere(url));
  const sockets = new Set<Socket>();
  let server: Server;
  const join = (one: Socket, other: Socket) => {
    sockets.add(one);
    one.pipe(other);
    one.on("error", () => other.destroy()).on("close", () => other.destroy());
  };
  const link = {
    url: address.href,
    async mend() {
      server = createServer((socket) => {
        const onwards = connect(Number(target.port), target.hostname);
        join(socket, onwards);
        join(onwards, socket);
      });
      server.listen(Number(address.port), address.hostname);
      await once(server, "listening");
    },
    async cut() {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      sockets.clear();
      await closed;
    },
  };
  await link.mend();
  return link;
}
