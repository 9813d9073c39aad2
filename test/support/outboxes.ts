import { randomUUID } from "node:crypto";
import type { Knex } from "knex";
import { afterAll, afterEach, beforeAll, beforeEach, describe } from "vitest";
import { createOutbox, type Outbox, type OutboxOptions, type RelayResult } from "../../src/index.js";
import type { Dialect } from "../../src/store/dialect.js";
import { up } from "../../src/store/migrate.js";
import { dialectOf } from "../../src/store/own-connections.js";
import { type Engine, engines, type TestDatabase } from "./databases.js";
import { openGates, until } from "./waiting.js";

/** `describe`, once per engine that other processes can connect to: not PGlite. */
export function describeEachServer(title: string, suite: (engine: Engine) => void): void {
  for (const engine of engines.filter(({ name }) => name !== "pglite")) {
    const reason = engine.skipReason === undefined ? "" : `: ${engine.skipReason}`;
    describe.skipIf(engine.skipReason !== undefined)(`${title} [${engine.name}${reason}]`, () => suite(engine));
  }
}

/** A stored call, as far as tests look at it. */
export interface CallRow {
  id: string;
  functionName: string;
  key: string;
  state: "pending" | "held" | "sent" | "dead";
  attempts: number;
  fence: number;
  isLeased: boolean;
  lastError: string | null;
}

/** A row as the driver gives it. */
type TableRow = Record<string, unknown>;

/** A database with fresh tables for every test. */
export interface Outboxes {
  readonly database: TestDatabase;
  readonly knex: Knex;
  readonly dialect: Dialect;
  /** Of this test's tables. */
  readonly tablePrefix: string;
  /** An outbox on this test's tables, closed when the test ends. */
  open(options?: Partial<OutboxOptions>): Outbox;
  /** Another one on a pool of its own, as in another process; on PGlite, which has one session, on the same. */
  openRival(options?: Partial<OutboxOptions>): Outbox;
  table(name: "calls" | "keys" | "streams"): Knex.QueryBuilder<TableRow, TableRow[]>;
  /** Every stored call, in the order in which they were stored. */
  rows(): Promise<CallRow[]>;
  /** Relays while there is a publish-on-commit call to run in the stream `default`, so that this stream is looked at. */
  relayBesideAnother(outbox: Outbox): Promise<RelayResult>;
  /** When the only stream's lease ends, in milliseconds since 1970. */
  streamLeaseEnd(): Promise<number>;
  /** Ends every lease, as if its holder had died that long ago. */
  expireLeases(): Promise<void>;
  /** Takes every lease over, as another process would once it had ended. */
  stealLeases(): Promise<void>;
}

export function useOutboxes(engine: Engine): Outboxes {
  const context = {} as { -readonly [Part in keyof Outboxes]: Outboxes[Part] };
  const opened = new Set<Outbox>();
  let rivalKnex: Knex | undefined;
  let tests = 0;

  beforeAll(async () => {
    const database = await engine.create();
    const { knex } = database;
    const dialect = dialectOf(knex);
    const open = (on: Knex, options: Partial<OutboxOptions>): Outbox => {
      const outbox = createOutbox({ knex: on, tablePrefix: context.tablePrefix, ...options });
      opened.add(outbox);
      return outbox;
    };
    const name = (table: string) => dialect.quote(`${context.tablePrefix}${table}`);
    Object.assign(context, {
      database,
      knex,
      dialect,
      open: (options = {}) => open(knex, options),
      openRival: (options = {}) => open((rivalKnex ??= database.newKnex?.() ?? knex), options),
      table: (table) => knex<TableRow, TableRow[]>(`${context.tablePrefix}${table}`),
      rows: () => readRows(knex, `${context.tablePrefix}calls`),
      async relayBesideAnother(outbox) {
        const name = `another ${randomUUID()}`;
        const another = outbox.saveToOutbox(() => undefined, { name });
        await knex.transaction((trx) => another.with({ trx, delay: 1 })());
        await until("it is due", async () => (await outbox.calls.list({ function: name, state: "due" })).length === 1);
        return outbox.relay();
      },
      async streamLeaseEnd() {
        const end = `${dialect.epochMs("lease_until")} as ms`;
        const { rows } = dialect.result<{ ms: number | string }>(
          await knex.raw(`select ${end} from ${name("streams")}`),
        );
        return Number(rows[0]?.ms);
      },
      async expireLeases() {
        const past = dialect.after("-1");
        await knex.raw(
          `update ${name("calls")} set due_at = ${past}, lease_until = ${past} where lease_id is not null`,
        );
        await knex.raw(`update ${name("streams")} set lease_until = ${past} where lease_token is not null`);
      },
      async stealLeases() {
        const inAnHour = dialect.after("3600000");
        const until = `fence = fence + 1, lease_until = ${inAnHour}`;
        await knex.raw(
          `update ${name("calls")} set lease_id = ?, ${until} where lease_id is not null and state = 'pending'`,
          [randomUUID()],
        );
        await knex.raw(`update ${name("streams")} set lease_token = ?, ${until} where lease_token is not null`, [
          randomUUID(),
        ]);
      },
    } satisfies Partial<Outboxes>);
  });
  beforeEach(async () => {
    tests += 1;
    context.tablePrefix = `t${tests}_`;
    await up(context.knex, { tablePrefix: context.tablePrefix });
  });
  afterEach(async () => {
    openGates();
    await Promise.all([...opened].map((outbox) => outbox.close()));
    opened.clear();
  });
  afterAll(() => context.database.close());
  return context;
}

interface StoredRow {
  id: string;
  function_name: string;
  ordering_key: Uint8Array;
  state: CallRow["state"];
  attempts: number;
  fence: number | string;
  lease_id: string | null;
  last_error: string | null;
}

async function readRows(knex: Knex, table: string): Promise<CallRow[]> {
  const rows = await knex<StoredRow>(table)
    .select("id", "function_name", "ordering_key", "state", "attempts", "fence", "lease_id", "last_error")
    .orderBy("seq");
  return rows.map((row) => ({
    id: row.id,
    functionName: row.function_name,
    key: Buffer.from(row.ordering_key).toString(),
    state: row.state,
    attempts: row.attempts,
    fence: Number(row.fence),
    isLeased: row.lease_id !== null,
    lastError: row.last_error,
  }));
}
