import type { Knex } from "knex";
import { decodePayload } from "./codec.js";
import { CommitHints, rootOf } from "./commit-hint.js";
import { TransactionClosedError } from "./errors.js";
import type { Events } from "./events.js";
import type { FunctionDefinition, Registry } from "./registry.js";
import { Group } from "./run/group.js";
import { toCall } from "./run/run.js";
import type { NewCall } from "./store/insert-calls.js";
import type { Store } from "./store/store.js";
import { unstored } from "./strategies/on-failure.js";

export interface CallWriterParts {
  store: Pick<Store, "insert" | "insertAlone">;
  registry: Registry;
  events: Events;
  /** The transaction of these calls may have committed. */
  onHint: (calls: readonly NewCall[]) => void;
}

interface Save {
  trx: Knex.Transaction;
  call: NewCall;
}

type Failure = { error: unknown } | undefined;

const noFailure = () => undefined;

/** Stores calls, tells that it did, and hints when their transaction may have committed. */
export class CallWriter {
  readonly #parts: CallWriterParts;
  readonly #hints: CommitHints;
  /** By root transaction. */
  readonly #groups = new WeakMap<Knex.Transaction, Group<Save, Failure>>();

  constructor(parts: CallWriterParts) {
    this.#parts = parts;
    this.#hints = new CommitHints(parts.onHint);
  }

  /** @throws {TransactionClosedError} the transaction was over */
  async write(trx: Knex.Transaction, calls: readonly NewCall[]): Promise<void> {
    if (trx.isCompleted()) throw over();
    try {
      await this.#parts.store.insert(trx, calls);
    } catch (error) {
      // Knex refuses a statement in a finished transaction by an error without a code.
      const isKnexs = trx.isCompleted() && (error as { code?: unknown }).code === undefined;
      throw isKnexs ? over(error) : error;
    }
    this.#hints.watch(trx, calls);
    this.#tellSaved(calls);
  }

  /**
   * The same for one call. Calls made at once in one transaction go together, and those in its savepoints after one another:
   * pg takes one query at a time on a connection.
   */
  async add(trx: Knex.Transaction, call: NewCall): Promise<void> {
    const root = rootOf(trx);
    let group = this.#groups.get(root);
    if (!group) {
      group = new Group<Save, Failure>((saves) => this.#writeAll(saves));
      this.#groups.set(root, group);
    }
    const failure = await group.add({ trx, call });
    if (failure) throw failure.error;
  }

  async #writeAll(saves: readonly Save[]): Promise<Failure[]> {
    const failures: Failure[] = [];
    while (failures.length < saves.length) {
      const rest = saves.slice(failures.length);
      const { trx } = rest[0] as Save;
      const end = rest.findIndex((save) => save.trx !== trx);
      const calls = rest.slice(0, end === -1 ? rest.length : end).map(({ call }) => call);
      const failure = await this.write(trx, calls).then(noFailure, (error: unknown) => ({ error }));
      failures.push(...calls.map(() => failure));
    }
    return failures;
  }

  /** Stores a call in a transaction of its own. */
  async writeAlone(call: NewCall): Promise<void> {
    await this.#parts.store.insertAlone([call]);
    this.#tellSaved([call]);
    this.#parts.onHint([call]);
  }

  #tellSaved(calls: readonly NewCall[]): void {
    const { events, registry } = this.#parts;
    if (!events.has("saved")) return;
    for (const call of calls) {
      const { createdAt: _unknownYet, ...shown } = toCall(unstored(call));
      const definition = registry.find(call) as FunctionDefinition;
      events.emit("saved", { call: { ...shown, args: argsOf(definition, call) } });
    }
  }
}

/** A codec that fails now must not undo the transaction: the same text was decoded before it was stored. */
function argsOf({ codec }: FunctionDefinition, { payload }: NewCall): unknown[] {
  try {
    return decodePayload(codec, payload);
  } catch {
    return [];
  }
}

function over(cause?: unknown): TransactionClosedError {
  return new TransactionClosedError(
    "the transaction was over before the call could be stored in it; await every call inside the transaction's work",
    cause === undefined ? undefined : { cause },
  );
}
