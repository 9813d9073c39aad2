import { createHash } from "node:crypto";
import type { Dialect, Session } from "./dialect.js";

/** What to send for a statement. */
export interface Sending {
  sql: string;
  name?: string;
}

/**
 * Names for the inserts that come again and again on the application's connections: the database parses and plans one with a
 * name once per session (seen: a transaction with one call took 17 % less of both sides' CPU). Only on a connection that was
 * seen to lead straight to its session. Through a pooler, which may lead each transaction to another one, a name is not found
 * there, and the application's transaction is lost.
 */
export class PreparedInserts {
  readonly #session: Session;
  readonly #isStraight = new WeakMap<object, boolean>();
  /** By text; there is one for each kind of call. */
  readonly #names = new Map<string, string>();
  #isOff = false;

  /** @returns undefined where a name saves nothing */
  static for({ session }: Dialect): PreparedInserts | undefined {
    return session && new PreparedInserts(session);
  }

  constructor(session: Session) {
    this.#session = session;
  }

  sending(connection: object, sql: string): Sending {
    if (this.#isOff) return { sql };
    const isStraight = this.#isStraight.get(connection);
    if (isStraight === undefined) return { sql: `${sql} returning ${this.#session.id} as session` };
    return isStraight ? { sql, name: this.#nameOf(sql) } : { sql };
  }

  /** The row that came back for what was sent, if one did. */
  answered(connection: object, row: { session: unknown } | undefined): void {
    if (row) this.#isStraight.set(connection, this.#session.isOf(connection, row.session));
  }

  /** The application may have dropped what was prepared in its session. It loses that one transaction. */
  failed(error: unknown): void {
    this.#isOff ||= this.#session.isNameUnknown(error);
  }

  #nameOf(sql: string): string {
    let name = this.#names.get(sql);
    if (name === undefined) {
      name = `carteiro_insert_${createHash("sha256").update(sql).digest("base64url").slice(0, 22)}`;
      this.#names.set(sql, name);
    }
    return name;
  }
}
