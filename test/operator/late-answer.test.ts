import { expect, it } from "vitest";
import { KeysOperator } from "../../src/operator/keys.js";
import type { OperatorParts } from "../../src/operator/parts.js";
import { Registry } from "../../src/registry.js";
import { UnconfirmedError } from "../../src/errors.js";
import { superjsonCodec } from "../../src/codec.js";
import { openStore } from "../../src/store/store.js";
import { resolveTables } from "../../src/store/tables.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { gate, until } from "../support/waiting.js";

const silent = () => undefined;

describeEachEngine("skipHead, whose answer comes late, or never", (engine) => {
  const outboxes = useOutboxes(engine);

  function storeWith(leaseMs: number) {
    const { knex, dialect, tablePrefix } = outboxes;
    const tables = resolveTables({ tablePrefix }, dialect);
    return openStore({ knex, tables, ownConnections: 0, writersLock: true, leaseMs });
  }

  /** A person's hands, which look for the holder's answer once `mayLook`. */
  function handsThatWait(mayLook: Promise<void>, leaseMs = 60_000) {
    const store = storeWith(leaseMs);
    let isHidden = false;
    const parts: OperatorParts = {
      store: {
        ...store,
        async readConfirmation(stream, epoch) {
          isHidden = true;
          await mayLook;
          return store.readConfirmation(stream, epoch);
        },
      },
      registry: new Registry(superjsonCodec),
      logger: { debug: silent, info: silent, warn: silent, error: silent },
      leaseMs,
      whileOpen: (_what, work) => work(),
      wake: silent,
    };
    return { hands: new KeysOperator(parts), isHidden: () => isHidden };
  }

  it.each(["succeeded", "failed"] as const)(
    "does not take a head for skipped that ran meanwhile, and %s: the answer is read after the stream was given back",
    async (how) => {
      const outbox = outboxes.open({ pollInterval: 10, retry: { initialDelay: "1h" } });
      const ended = gate();
      let runs = 0;
      const publish = outbox.saveToOutbox(
        async () => {
          runs += 1;
          await ended.promise;
          if (how === "failed") throw new Error("down");
        },
        { name: "publish", strategy: "keep-order", stream: "orders" },
      );
      const { id } = await outbox.transaction(() => publish());
      const relaying = outbox.relay();
      await until("it runs", () => runs === 1);
      const mayLook = gate();
      const { hands, isHidden } = handsThatWait(mayLook.promise);
      const skipping = hands.skipHead({ stream: "orders" });
      await until("it is out of sight", isHidden);
      ended.resolve();
      await relaying;
      mayLook.resolve();
      expect(await skipping).toEqual({ id, skipped: false });
      expect((await outbox.calls.list()).map((call) => call.state)).toEqual(how === "failed" ? ["blocked"] : []);
    },
  );

  it("leaves the reason with the call where no answer comes, also while the command still waits for it", async () => {
    const outbox = outboxes.open();
    const publish = outbox.saveToOutbox(async () => {}, { name: "publish", strategy: "keep-order", stream: "orders" });
    const { id } = await outbox.transaction(() => publish());
    const mayLook = gate();
    const { hands, isHidden } = handsThatWait(mayLook.promise, 1);
    // Of an older release, say: it holds the lease, and looks for no changes.
    expect(await storeWith(3_600_000).acquireStream("orders")).toBeDefined();
    const skipping = hands.skipHead({ stream: "orders" }, { reason: "cancelled" });
    await until("it is out of sight", isHidden);
    const asItIs = { state: "dead", lastError: "skipped by a person: cancelled" };
    expect(await outbox.calls.get(id)).toMatchObject(asItIs);
    mayLook.resolve();
    await expect(skipping).rejects.toThrow(UnconfirmedError);
    expect(await outbox.calls.get(id)).toMatchObject(asItIs);
  });
});
