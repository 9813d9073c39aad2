import { expect, it } from "vitest";
import { superjsonCodec } from "../../src/codec.js";
import { CallsOperator } from "../../src/operator/calls.js";
import type { OperatorParts } from "../../src/operator/parts.js";
import { Registry } from "../../src/registry.js";
import { openStore } from "../../src/store/store.js";
import { resolveTables } from "../../src/store/tables.js";
import { describeEachEngine } from "../support/databases.js";
import { useOutboxes } from "../support/outboxes.js";
import { deferred, gate, until } from "../support/waiting.js";

const silent = () => undefined;

describeEachEngine("a discard of a call whose run ends meanwhile, and is kept as sent", (engine) => {
  const outboxes = useOutboxes(engine);

  it.each([
    // The person has found the call, or looks for its holder's answer.
    ["publish-on-commit", "selectCalls"],
    ["keep-order", "readConfirmation"],
  ] as const)("does not take it for discarded, and leaves it to the cleaner [%s]", async (strategy, moment) => {
    const { knex, dialect, tablePrefix } = outboxes;
    const outbox = outboxes.open({ pollInterval: 10, deleteAfterSend: false });
    const [began, ended, looked, mayGoOn] = [deferred(), gate(), deferred(), gate()];
    const publish = outbox.saveToOutbox(
      async () => {
        began.resolve();
        await ended.promise;
      },
      { name: "publish", strategy },
    );
    const tables = resolveTables({ tablePrefix }, dialect);
    const store = openStore({ knex, tables, ownConnections: 0, writersLock: true, leaseMs: 60_000 });
    const waiting = async <T>(name: typeof moment, answer: Promise<T>, isAfter: boolean): Promise<T> => {
      if (name === moment && isAfter) await answer;
      if (name === moment) looked.resolve();
      if (name === moment) await mayGoOn.promise;
      return answer;
    };
    const parts: OperatorParts = {
      store: {
        ...store,
        selectCalls: (...given) => waiting("selectCalls", store.selectCalls(...given), true),
        async readConfirmation(...given) {
          await waiting("readConfirmation", Promise.resolve(), false);
          return store.readConfirmation(...given);
        },
      },
      registry: new Registry(superjsonCodec),
      logger: { debug: silent, info: silent, warn: silent, error: silent },
      leaseMs: 60_000,
      whileOpen: (_what, work) => work(),
      wake: silent,
    };
    const { id } = await outbox.transaction(() => publish());
    const relaying = strategy === "keep-order" ? outbox.relay() : undefined;
    await began.promise;
    const discarding = new CallsOperator(parts).discard({ stream: "default" });
    await looked.promise;
    ended.resolve();
    await relaying;
    await until("it is sent", async () => (await outbox.calls.get(id))?.state === "sent");
    mayGoOn.resolve();
    expect(await discarding).toEqual({ discarded: 0, running: 1 });
    expect(await outbox.calls.list()).toMatchObject([{ id, state: "sent" }]);
    expect(await outbox.calls.discard(id)).toEqual({ discarded: 1, running: 0 });
    expect(await outboxes.rows()).toEqual([]);
  });
});
