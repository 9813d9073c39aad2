import type { Knex } from "knex";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { currentCall, type Duration, type Outbox, type OutboxOptions, type Strategy } from "../../src/index.js";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { gate, openGates, until } from "../support/waiting.js";
import { type FaultProxy, startFaultProxy } from "./fault-proxy.js";

const TIMEOUT_MS = 400;
const LEASE_MS = 1000;
const strategies: readonly Strategy[] = ["publish-on-commit", "keep-order"];

describeEachServer("the network between the outbox and its database", (engine) => {
  const outboxes = useOutboxes(engine);
  let proxy: FaultProxy;
  let knex: Knex;
  let told: string[];
  let errors: unknown[];

  beforeEach(async () => {
    proxy = await startFaultProxy(outboxes.database.connection!.url);
    knex = outboxes.database.newKnex!({ connection: proxy.url });
    told = [];
    errors = [];
  });
  afterEach(async () => {
    openGates();
    proxy.set("pass");
    await knex.destroy();
    await proxy.close();
  });

  /** Speaks to the database by way of the proxy; calls are saved past it. */
  function open(options: Partial<OutboxOptions> = {}): Outbox {
    const line = (_fields: object, message: string) => void told.push(message);
    const logger = { debug: line, info: line, warn: line, error: line };
    return outboxes.open({ knex, logger, statementTimeout: TIMEOUT_MS, retry: { initialDelay: 10 }, ...options });
  }

  const relay = (outbox: Outbox) => outbox.startRelayer({ interval: 20, onError: (error) => void errors.push(error) });
  const wasTold = (text: string) => told.some((line) => line.includes(text));

  function define(outbox: Outbox, strategy: Strategy, ending?: Promise<void>) {
    const ran: number[] = [];
    const published: string[] = [];
    outbox.on("published", ({ call }) => void published.push(call.id));
    const send = outbox.saveToOutbox(
      async (n: number) => {
        ran.push(n);
        await ending;
      },
      { name: "send", strategy },
    );
    const save = (n: number) => outboxes.knex.transaction((trx) => send.in(trx)(n));
    return { ran, published, save };
  }

  /** One whose relayer has a run under way, which goes on until `end` is called. */
  async function openInRun(strategy: Strategy, lease: Duration) {
    const outbox = open({ lease });
    const ending = gate();
    const { ran, published, save } = define(outbox, strategy, ending.promise);
    relay(outbox);
    await save(1);
    await until("it runs", () => ran.length === 1);
    return { outbox, ran, published, end: () => ending.resolve() };
  }

  const isEmpty = () => until("nothing is left", async () => (await outboxes.rows()).length === 0);

  /** The network is back, and a relayer runs what is left. */
  async function comeBack(outbox: Outbox): Promise<void> {
    proxy.set("pass");
    relay(outbox);
    await isEmpty();
  }

  /** All that was opened by way of the proxy is closed, without its help. */
  async function close(outbox: Outbox): Promise<void> {
    await outbox.close();
    await until("no socket is left", () => proxy.open === 0);
  }

  describe("half open", () => {
    it("while a relayer is idle: it tells, tries ever later, and goes on by itself", async () => {
      const outbox = open();
      const { ran, save } = define(outbox, "keep-order");
      const relayer = relay(outbox);
      await save(1);
      await until("it works", () => ran.length === 1);
      await isEmpty();
      proxy.set("swallow");
      await until("it has failed three times", () => errors.length >= 3);
      const pauses = told.flatMap((line) => /look for due calls; it tries again in (\d+) ms/.exec(line)?.[1] ?? []);
      expect(pauses.slice(0, 3)).toEqual(["40", "80", "160"]);
      await save(2);
      proxy.set("pass");
      await until("the call ran", () => ran.includes(2));
      await isEmpty();
      await relayer.stop();
      expect(ran).toEqual([1, 2]);
      await close(outbox);
    });

    it("as committed calls are claimed: they are left to a relayer, and run once", async () => {
      const outbox = open();
      const { ran, save } = define(outbox, "publish-on-commit");
      await save(1);
      await isEmpty();
      proxy.set("swallow");
      await save(2);
      await until("it was left", () => wasTold("committed calls could not be claimed"));
      await outbox.idle();
      await comeBack(outbox);
      expect(ran).toEqual([1, 2]);
      await close(outbox);
    });

    it.each(strategies)(
      "as a %s run is settled: it is settled when the network is back, and not repeated",
      async (strategy) => {
        const { outbox, ran, published, end } = await openInRun(strategy, "60s");
        proxy.set("swallow");
        end();
        await until("settling has failed", () => wasTold("settled together; each is tried alone"));
        expect(published).toEqual([]);
        proxy.set("pass");
        await until("it is settled", () => published.length === 1);
        await isEmpty();
        expect(ran).toEqual([1]);
        await close(outbox);
      },
    );

    it.each(strategies)(
      "as the lease of a %s run is renewed: the loss is told, and it runs elsewhere",
      async (strategy) => {
        const { outbox, ran, published, end } = await openInRun(strategy, LEASE_MS);
        const lost: string[] = [];
        outbox.on("leaseLost", ({ stream }) => void lost.push(stream));
        proxy.set("swallow");
        const rival = outboxes.open({ lease: LEASE_MS });
        const elsewhere: string[] = [];
        rival.saveToOutbox(() => void elsewhere.push(currentCall()!.id), { name: "send", strategy });
        rival.startRelayer({ interval: 20 });
        await until("the loss is told", () => lost.length === 1);
        await until("it ran elsewhere", () => elsewhere.length === 1);
        await isEmpty();
        end();
        proxy.set("pass");
        await outbox.idle();
        expect(published).toEqual([]);
        expect([ran, lost]).toEqual([[1], ["default"]]);
        await close(outbox);
      },
    );

    it.each(strategies)(
      "as a process is closed while a %s run ends: it closes, without the network",
      async (strategy) => {
        const { outbox, end } = await openInRun(strategy, LEASE_MS);
        proxy.set("swallow");
        end();
        await close(outbox);
        // What could not be written down is run again, once the lease has ended.
        const rival = outboxes.open({});
        const again: number[] = [];
        rival.saveToOutbox((n: number) => void again.push(n), { name: "send", strategy });
        rival.startRelayer({ interval: 20 });
        await isEmpty();
        expect(again).toEqual([1]);
      },
    );

    it("for new connections too: what is asked of the outbox rejects, and works again later", async () => {
      const outbox = open();
      const { save } = define(outbox, "keep-order");
      proxy.set("swallow");
      const asked = [outbox.relay(), outbox.clean(), outbox.calls.list(), outbox.streams.list(), outbox.migrate()];
      const answers = await Promise.allSettled(asked);
      expect(answers.map(({ status }) => status)).toEqual(asked.map(() => "rejected"));
      await save(1);
      proxy.set("pass");
      await until("it works", () =>
        outbox.relay().then(
          ({ published }) => published === 1,
          () => false,
        ),
      );
      await close(outbox);
    });
  });

  describe("stalled", () => {
    it.each(strategies)("for less than the timeout: %s goes on as if nothing had been", async (strategy) => {
      const outbox = open({ statementTimeout: "60s", lease: "60s" });
      const { ran, save } = define(outbox, strategy);
      relay(outbox);
      const expected: number[] = [];
      for (let n = 1; n <= 10; n++) {
        await save(n);
        expected.push(n);
        proxy.set("hold");
        await save(n + 100);
        expected.push(n + 100);
        proxy.set("pass");
      }
      await isEmpty();
      expect([...ran].sort((one, other) => one - other)).toEqual(expected.sort((one, other) => one - other));
      expect(errors).toEqual([]);
      expect(told.filter((line) => line.includes("again"))).toEqual([]);
      await close(outbox);
    });

    it.each(strategies)("for longer: what arrives late at the server takes no %s call away", async (strategy) => {
      const outbox = open({ lease: LEASE_MS });
      const { ran, save } = define(outbox, strategy);
      await save(1);
      if (strategy === "keep-order") await outbox.relay();
      await isEmpty();
      proxy.set("hold");
      await save(2);
      if (strategy === "keep-order") await expect(outbox.relay()).rejects.toThrow();
      else await until("the claim was given up", () => wasTold("committed calls could not be claimed"));
      // With a claim for a client that is gone.
      await comeBack(outbox);
      expect(ran).toEqual([1, 2]);
      await close(outbox);
    });
  });

  it.each(strategies)(
    "reset again and again: every %s call runs, in its order, and no connection is left",
    async (strategy) => {
      const outbox = open({ lease: LEASE_MS });
      const { ran, save } = define(outbox, strategy);
      relay(outbox);
      const total = 60;
      for (let n = 1; n <= total; n++) {
        await save(n);
        if (n % 6 !== 0) continue;
        proxy.set("reset");
        if (n % 12 === 0) await save(1000 + n);
        await until("it was cut off", () => proxy.open === 0);
        proxy.set("pass");
      }
      await isEmpty();
      const firsts = [...new Set(ran)];
      expect(firsts).toHaveLength(total + total / 12);
      if (strategy === "keep-order") {
        const [regular, late] = [firsts.filter((n) => n <= total), firsts.filter((n) => n > total)];
        for (const numbers of [regular, late]) expect(numbers).toEqual([...numbers].sort((one, other) => one - other));
      }
      await close(outbox);
    },
  );
});
