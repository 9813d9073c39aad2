import { randomUUID } from "node:crypto";
import { crc32 } from "node:zlib";
import type { Knex } from "knex";
import { mysqlStatements, postgresStatements, type Statements } from "./statements.js";

export interface OldCall {
  functionName: string;
  stream: string;
  strategy: "publish-on-commit" | "keep-order";
  key?: string;
  args: readonly unknown[];
  /** A call of `persist: "on-failure"`, whose run after the commit has failed. */
  failure?: { state: "pending" | "dead"; attempts: number; error: string };
}

type Run = (functionName: string, args: unknown[]) => Promise<void>;

interface Row {
  seq: string | number;
  function_name: string;
  ordering_key: Uint8Array;
  payload: string;
  is_due: boolean | number;
  is_aside: boolean | number;
  held_key: Uint8Array;
}

interface Lease {
  stream: string;
  token: string;
}

const LEASE_MS = 10_000;
const RETRY_MS = 20;
const WRITER_SLOTS = 256;

/** A process of the release that knew version 1 of the tables: it saves calls and relays them, one after the other. */
export class OldLibrary {
  readonly #knex: Knex;
  readonly #sql: Statements;
  readonly #run: Run;

  /** @param knex whose connections read only what is committed */
  constructor(knex: Knex, prefix: string, run: Run) {
    this.#knex = knex;
    this.#sql = (isPostgres(knex) ? postgresStatements : mysqlStatements)(prefix);
    this.#run = run;
  }

  async save(trx: Knex.Transaction, call: OldCall): Promise<string> {
    const { functionName, stream, strategy, key = "", args, failure } = call;
    const id = randomUUID();
    const slot = crc32(Buffer.from(key), crc32(`${stream}\0`)) % WRITER_SLOTS;
    if (strategy === "keep-order") await query(trx, this.#sql.lockWriters, [[slot]]);
    const payload = JSON.stringify({ json: args });
    const content = [functionName, stream, strategy, Buffer.from(key), "superjson", 1, payload, "{}"];
    const { state = "pending", attempts = 0, error = null } = failure ?? {};
    await query(trx, this.#sql.insert, [id, ...content, state, attempts, 0, error]);
    return id;
  }

  /** One pass over everything that is due. @returns how many calls were begun */
  async relay(): Promise<number> {
    let begun = 0;
    const due = await this.#query<{ stream: string; strategy: string }>(this.#sql.dueStreams, []);
    for (const { stream, strategy } of due) {
      begun += strategy === "keep-order" ? await this.#serve(stream) : await this.#publish(stream);
    }
    return begun;
  }

  /** Claims and settles that the tables of today refuse, which the process logs, and goes on. */
  refused = 0;

  async #publish(stream: string): Promise<number> {
    const token = randomUUID();
    let begun = 0;
    try {
      for (const row of await this.#claim(stream, token)) {
        begun += 1;
        const error = await this.#runOne(row);
        if (error === undefined) await this.#query(this.#sql.deleteClaimed, [row.seq, token]);
        else await this.#query(this.#sql.failClaimed, [error, RETRY_MS, row.seq, token]);
      }
    } catch (error) {
      if (!isColumnMissing(error)) throw error;
      this.refused += 1;
    }
    return begun;
  }

  async #claim(stream: string, token: string): Promise<Row[]> {
    const { claim } = this.#sql;
    if ("inOne" in claim) return this.#query(claim.inOne, [stream, 4, token, LEASE_MS]);
    const seqs = (await this.#query(claim.read, [stream, 4])).map(({ seq }) => seq);
    if (seqs.length === 0) return [];
    await this.#query(claim.update, [token, LEASE_MS, seqs]);
    return this.#query(claim.claimed, [seqs, token]);
  }

  async #serve(stream: string): Promise<number> {
    const lease = await this.#acquire(stream);
    if (!lease) return 0;
    try {
      return (await this.#serveDueKeys(lease)) + (await this.#serveLine(lease));
    } finally {
      await this.#query(this.#sql.release, [stream, lease.token]);
    }
  }

  async #acquire(stream: string): Promise<Lease | undefined> {
    const token = randomUUID();
    await this.#query(this.#sql.addStream, [stream]);
    await this.#query(this.#sql.acquire, [token, LEASE_MS, stream]);
    const rows = await this.#query(this.#sql.acquired, [stream, token]);
    return rows.length > 0 ? { stream, token } : undefined;
  }

  /** Keys that stand aside and are due: from their held head on. */
  async #serveDueKeys(lease: Lease): Promise<number> {
    let begun = 0;
    const due = await this.#query(this.#sql.dueKeys, [lease.stream, 256]);
    for (const first of due) {
      const key = Buffer.from(first.held_key);
      let rows = (first.seq as unknown) === null ? [] : [first];
      for (; rows.length > 0; begun += 1) {
        const [row] = rows as [Row];
        if (!(await this.#serveCall(lease, row))) break;
        rows = await this.#query(this.#sql.held, [lease.stream, key, row.seq, 1]);
      }
      if (rows.length === 0) {
        const { stream } = lease;
        await this.#settle(lease, [[this.#sql.releaseKey, [stream, key, stream, key]]]);
      }
    }
    return begun;
  }

  async #serveLine(lease: Lease): Promise<number> {
    let begun = 0;
    const failed = new Set<string>();
    for (const row of await this.#query(this.#sql.line, [lease.stream, 256])) {
      const hex = Buffer.from(row.ordering_key).toString("hex");
      if (Number(row.is_aside) === 1) {
        await this.#settle(lease, [
          [this.#sql.setAside, [row.seq]],
          [this.#sql.setAsideKeys, [row.seq]],
        ]);
      } else if (!failed.has(hex)) {
        begun += 1;
        if (!(await this.#serveCall(lease, row))) failed.add(hex);
      }
    }
    return begun;
  }

  /** @returns whether the next call of the key may follow */
  async #serveCall(lease: Lease, row: Row): Promise<boolean> {
    const error = await this.#runOne(row);
    if (error === undefined) return this.#settle(lease, [[this.#sql.remove, [row.seq]]]);
    await this.#settle(lease, [
      [this.#sql.holdCall, [RETRY_MS, error, row.seq]],
      [this.#sql.holdKey, ["blocked", row.seq]],
    ]);
    return false;
  }

  async #settle({ stream, token }: Lease, statements: [sql: string, bindings: unknown[]][]): Promise<boolean> {
    return retrying(() =>
      this.#knex.transaction(async (trx) => {
        if ((await query(trx, this.#sql.lockLease, [stream, token])).length === 0) throw new Error("lease lost");
        for (const [sql, bindings] of statements) await query(trx, sql, bindings);
        return true;
      }),
    );
  }

  #query<R = Row>(sql: string, bindings: readonly unknown[]): Promise<R[]> {
    return retrying(() => query<R>(this.#knex, sql, bindings));
  }

  async #runOne({ function_name, payload }: Row): Promise<string | undefined> {
    const { json } = JSON.parse(payload) as { json: unknown[] };
    return this.#run(function_name, json).then(
      () => undefined,
      (error: unknown) => String(error),
    );
  }
}

const CONTENTION = ["40001", "40P01", "55P03", "1205", "1213", "1020"];

/** A migration, say, chose it as a deadlock's victim. */
async function retrying<T>(unit: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await unit();
    } catch (error) {
      const { code, errno } = error as { code?: string; errno?: number };
      if (attempt === 6 || !CONTENTION.some((known) => known === code || known === String(errno))) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10 * 2 ** attempt));
    }
  }
}

function isPostgres({ client }: Knex): boolean {
  return (client as { dialect: string }).dialect === "postgresql";
}

async function query<R = Row>(knex: Knex, sql: string, bindings: readonly unknown[]): Promise<R[]> {
  const answer: unknown = await knex.raw(sql, bindings as Knex.RawBinding[]);
  const rows = isPostgres(knex) ? (answer as { rows: R[] }).rows : (answer as [R[]])[0];
  return Array.isArray(rows) ? rows : [];
}

function isColumnMissing(error: unknown): boolean {
  const { code, errno } = error as { code?: string; errno?: number };
  return code === "42703" || errno === 1054;
}
