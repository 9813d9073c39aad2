import { expect, it } from "vitest";
import type { Outbox, SavedFunction } from "../../src/index.js";
import type { Database } from "../../src/store/database.js";
import { dueStreams } from "../../src/store/due-streams.js";
import { fetchDueKeys, fetchLine, hasOtherKeys } from "../../src/store/fetch-stream.js";
import { describeEachServer, useOutboxes } from "../support/outboxes.js";
import { watchedClient } from "../support/watched-client.js";
import { examinedRows } from "./examined-rows.js";

const CALLS_BEHIND = 3000;
const BLOCKED_KEYS = 500;
const OTHERS = 200;
const KEY = { stream: "orders", orderingKey: "held" };

type Publish = SavedFunction<[key: string, n: number], unknown>;

/** What stands aside: saves it, and says how many calls of each key. */
interface Held {
  calls: Map<string, number>;
  /** Of a function that the relaying process does not know. */
  isUnroutable?: boolean;
  /** By a person. */
  isParked?: boolean;
}

const situations: [what: string, held: Held][] = [
  [`a key with ${CALLS_BEHIND} calls behind its failing head`, { calls: new Map([["held", CALLS_BEHIND]]) }],
  [
    `${BLOCKED_KEYS} keys blocked at once`,
    { calls: new Map(Array.from({ length: BLOCKED_KEYS }, (_, n) => [`held ${n}`, 2])) },
  ],
  [
    `a key with ${CALLS_BEHIND} calls behind its unroutable head`,
    { calls: new Map([["held", CALLS_BEHIND]]), isUnroutable: true },
  ],
  [`a parked key with ${CALLS_BEHIND} calls`, { calls: new Map([["held", CALLS_BEHIND]]), isParked: true }],
];

describeEachServer("the other keys of a stream", (engine) => {
  const outboxes = useOutboxes(engine);

  function open() {
    let statements = 0;
    const client = watchedClient(outboxes.knex, () => (statements += 1));
    const knex = outboxes.database.newKnex!({ client });
    const outbox = outboxes.open({ knex, ownConnections: 0, retry: { initialDelay: "1h", maxDelay: "1h" } });
    const unknowing = outboxes.open();
    const ran: string[] = [];
    const refused: string[] = [];
    const receiver = { isDown: true };
    const work = (key: string, n: number) => {
      if (key.startsWith("held") && receiver.isDown) {
        refused.push(`${key}/${n}`);
        throw new Error("down");
      }
      ran.push(`${key}/${n}`);
    };
    const options = { stream: "orders", strategy: "keep-order", orderingKey: (key: string) => key } as const;
    const publish = outbox.saveToOutbox(work, { name: "publish", ...options });
    const newer = unknowing.saveToOutbox(work, { name: "publishAnew", ...options });
    /** The relaying process learns the function, and whatever stands aside is due. */
    const mend = async () => {
      receiver.isDown = false;
      outbox.saveToOutbox(work, { name: "publishAnew", ...options });
      const due_at = outboxes.knex.raw(outboxes.dialect.now);
      for (const table of ["keys", "calls"] as const) await outboxes.table(table).update({ due_at });
    };
    const saveOthers = (turn: number) =>
      outbox.transaction(async () => {
        for (let n = 0; n < OTHERS; n++) await publish(`other ${n % 50}`, turn * OTHERS + n);
      });
    const countStatements = async (working: Promise<unknown>) => {
      const before = statements;
      await working;
      return statements - before;
    };
    return { outbox, ran, refused, publish, newer, unknowing, mend, saveOthers, countStatements };
  }

  async function save(through: Outbox, publish: Publish, { calls }: Held): Promise<void> {
    await through.transaction(async () => {
      for (const [key, count] of calls) for (let n = 1; n <= count; n++) await publish(key, n);
    });
  }

  const examined = (work: (db: Database) => Promise<unknown>) =>
    examinedRows(outboxes.knex, outboxes.dialect, outboxes.tablePrefix, work);
  const lease = { stream: "orders", token: "", fence: 1, isTakenOver: false };
  /** What a look at the stream reads, with the others' calls in line. */
  const look = () =>
    examined(async (db) => {
      expect(await dueStreams(db)).toEqual([{ stream: "orders", strategy: "keep-order" }]);
      expect(await fetchDueKeys(db, lease, 256)).toEqual([]);
      expect(await fetchLine(db, lease, 256)).toMatchObject({ calls: { length: OTHERS }, aside: [] });
      expect(await hasOtherKeys(db, lease, [Buffer.from("other 0")])).toBe(true);
    });

  it.for(situations)(
    "run at the same pace beside %s, which nothing overtakes",
    { timeout: 120_000 },
    async ([what, held], { annotate }) => {
      const { outbox, ran, refused, publish, newer, unknowing, mend, saveOthers, countStatements } = open();
      await saveOthers(0);
      const rowsAlone = await look();
      const statementsAlone = await countStatements(outbox.relay());
      expect(ran.splice(0)).toHaveLength(OTHERS);

      if (held.isUnroutable) await save(unknowing, newer, held);
      else await save(outbox, publish, held);
      if (held.isParked) await outbox.keys.park(KEY);
      await saveOthers(1);
      // The others stand behind them all, and run in the same pass.
      expect(await outbox.relay()).toMatchObject({ published: OTHERS });
      // An unroutable head is looked at again soon; not in what is measured.
      const due_at = outboxes.knex.raw(outboxes.dialect.after("3600000"));
      await outboxes.table("keys").update({ due_at });

      await saveOthers(2);
      const rowsBeside = await look();
      const statementsBeside = await countStatements(outbox.relay());
      const times = (beside: number, alone: number) => `${(beside / alone).toFixed(2)} times (${beside} to ${alone})`;
      const ratio = `beside ${what}: rows that a look reads ${times(rowsBeside, rowsAlone)}, statements of a pass ${times(statementsBeside, statementsAlone)}`;
      // Shown by vitest where it fails, and by --reporter=verbose.
      await annotate(ratio);
      // Whether its key stands aside is looked up for each of the others' calls.
      expect(rowsBeside, ratio).toBeLessThan(rowsAlone + 2 * OTHERS);
      // How many outcomes go together is a matter of time.
      expect(statementsBeside, ratio).toBeLessThan(3 * statementsAlone + 30);
      expect(ran).toHaveLength(2 * OTHERS);
      expect(ran.filter((call) => call.startsWith("held"))).toEqual([]);
      const heads = held.isUnroutable || held.isParked ? [] : [...held.calls.keys()].map((key) => `${key}/1`);
      expect(refused.toSorted()).toEqual(heads.toSorted());

      ran.splice(0);
      if (held.isParked) expect(await outbox.keys.resume(KEY)).toEqual({ resumed: true });
      await mend();
      // Of each key that is due its head, and not what stands behind that.
      expect(await examined((db) => fetchDueKeys(db, lease, 256))).toBeLessThan(10 * held.calls.size + 50);
      await outbox.relay();
      for (const [key, count] of held.calls) {
        const ofKey = ran.filter((call) => call.startsWith(`${key}/`));
        expect(ofKey).toEqual(Array.from({ length: count }, (_, n) => `${key}/${n + 1}`));
      }
      expect(await outboxes.rows()).toEqual([]);
      expect(await outboxes.table("keys")).toEqual([]);
    },
  );
});
