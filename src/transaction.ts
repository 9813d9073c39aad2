import { AsyncLocalStorage } from "node:async_hooks";
import type { Knex } from "knex";
import { TransactionClosedError } from "./errors.js";
import type { NewCall } from "./store/insert-calls.js";

/** What an outbox does for its transactions. */
export interface TransactionHooks {
  /** Stores calls in the transaction. */
  write(trx: Knex.Transaction, calls: readonly NewCall[]): Promise<void>;
  /** Nothing is run any more after a commit, so that everything must be stored in it. */
  isClosing(): boolean;
  /** The database answered COMMIT with yes: `persist: "on-failure"` relies on it. */
  committed(unstored: readonly NewCall[]): void;
  /** The database has rolled back all that came before this error, and takes what follows as single statements. */
  isWholeRollback(error: unknown): boolean;
}

interface OrderedCall {
  /** Its place among the calls of the root transaction, as made. */
  place: number;
  call: NewCall;
  isStored: boolean;
}

/** Calls that wait for the end of their transaction, where they are written together by one statement. */
export class Scope {
  readonly trx: Knex.Transaction;
  readonly root: Scope;
  /** Set once its commit was asked for; an end is asked for once, however often knex and the work do. */
  ending: Promise<unknown> | undefined;
  /** Its savepoints. */
  readonly #children: Scope[] = [];
  #calls: OrderedCall[] = [];
  #isOpen = true;
  #nextPlace = 0;

  constructor(trx: Knex.Transaction, parent?: Scope) {
    this.trx = trx;
    this.root = parent ? parent.root : this;
    if (parent) parent.#children.push(this);
  }

  get isOpen(): boolean {
    return this.#isOpen && this.root.#isOpen && !this.trx.isCompleted();
  }

  /** @throws {TransactionClosedError} the transaction is over, or about to be */
  add(call: NewCall, isStored: boolean): void {
    if (!this.isOpen) throw closed(call);
    this.#calls.push({ place: this.root.#nextPlace++, call, isStored });
  }

  /** No call is taken any more. */
  close(): void {
    this.#isOpen = false;
  }

  /** Its calls, and those of its savepoints, go with the rollback. */
  discard(): void {
    this.#isOpen = false;
    this.#calls = [];
    this.#children.length = 0;
  }

  /** What was called so far goes with a rollback that is not an end: what follows may be committed. */
  forget(): void {
    this.#calls = [];
    for (const child of this.#children) child.forget();
  }

  /** All that was called in it and in its savepoints, in the order of the calls. */
  calls(): { stored: NewCall[]; unstored: NewCall[] } {
    const stored: NewCall[] = [];
    const unstored: NewCall[] = [];
    for (const { call, isStored } of this.#collect().sort((a, b) => a.place - b.place)) {
      (isStored ? stored : unstored).push(call);
    }
    return { stored, unstored };
  }

  #collect(): OrderedCall[] {
    return this.#calls.concat(...this.#children.map((child) => child.#collect()));
  }
}

export function closed({ functionName }: { functionName: string }): TransactionClosedError {
  return new TransactionClosedError(
    `${functionName} was called in a transaction that is over, so the call was not stored; await every call inside the transaction's work`,
  );
}

/** The transactions of an outbox that calls find by themselves. */
export class AmbientTransactions {
  readonly #current = new AsyncLocalStorage<Scope>();
  readonly #scopes = new WeakMap<Knex.Transaction, Scope>();
  readonly #knex: Knex;
  readonly #hooks: TransactionHooks;
  /** Commits under way that decide whether calls run which are not stored. */
  readonly #deciding = new Set<Promise<unknown>>();

  constructor(knex: Knex, hooks: TransactionHooks) {
    this.#knex = knex;
    this.#hooks = hooks;
  }

  get current(): Scope | undefined {
    return this.#current.getStore();
  }

  /** The scope of a transaction that `run` began, or of a savepoint in one. */
  of(trx: Knex.Transaction): Scope | undefined {
    return this.#scopes.get(trx);
  }

  async run<T>(work: (trx: Knex.Transaction) => Promise<T> | T, config?: Knex.TransactionConfig): Promise<T> {
    const { current } = this;
    if (current?.isOpen) return current.trx.transaction(async (trx) => work(trx), config);
    return this.#knex.transaction((trx) => {
      const root = this.#open(trx);
      trx.on("query-error", (error: unknown) => this.#hooks.isWholeRollback(error) && root.forget());
      // A promise already, as a rule: a function that is async would make three more of it, each of which is hooked.
      return Promise.resolve(this.#current.run(root, work, trx));
    }, config);
  }

  #open(trx: Knex.Transaction, parent?: Scope): Scope {
    const scope = new Scope(trx, parent);
    this.#scopes.set(trx, scope);
    this.#watchEnd(scope);
    this.#watchSavepoints(scope);
    return scope;
  }

  /**
   * Knex ends a transaction by these two methods of its own, whether the work returned or called them itself. What was asked
   * for first counts: the other one waits for it, and is then refused by knex.
   */
  #watchEnd(scope: Scope): void {
    const { trx, root } = scope;
    const { commit, rollback } = trx as unknown as { commit: End; rollback: End };
    trx.commit = ((value?: unknown) => {
      scope.ending ??= heard(scope === root ? this.#commit(scope, commit, value) : commit(value));
      return scope.ending;
    }) as typeof trx.commit;
    trx.rollback = ((error?: unknown) => {
      // A savepoint that nobody awaits could otherwise undo the calls' INSERT before its COMMIT.
      const first = root.ending ?? scope.ending;
      if (first === undefined && !trx.isCompleted()) scope.discard();
      return after(first, () => rollback(error));
    }) as typeof trx.rollback;
  }

  #commit(root: Scope, commit: End, value: unknown): Promise<unknown> {
    root.close();
    const { stored, unstored } = root.calls();
    if (unstored.length === 0) return this.#end(root, stored, commit, value);
    if (this.#hooks.isClosing()) return this.#end(root, [...stored, ...unstored], commit, value);
    const deciding = this.#decide(root, stored, unstored, commit, value);
    this.#deciding.add(deciding);
    return deciding.finally(() => this.#deciding.delete(deciding));
  }

  async #end(root: Scope, stored: readonly NewCall[], commit: End, value: unknown): Promise<unknown> {
    if (stored.length > 0) await this.#hooks.write(root.trx, stored);
    return commit(value);
  }

  async #decide(
    root: Scope,
    stored: readonly NewCall[],
    unstored: readonly NewCall[],
    commit: End,
    value: unknown,
  ): Promise<unknown> {
    const answer = await this.#end(root, stored, commit, value);
    if (await isYes(root.trx, answer)) this.#hooks.committed(unstored);
    return answer;
  }

  /** Resolves when it is known of all calls that are not stored whether they run, or after so long: an answer may never come. */
  async decided(withinMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const tooLong = new Promise((resolve) => (timer = setTimeout(resolve, withinMs)));
    await Promise.race([Promise.allSettled(this.#deciding), tooLong]);
    clearTimeout(timer);
  }

  /** Savepoints that knex begins in it are ambient too: their calls go with them when they roll back. */
  #watchSavepoints(scope: Scope): void {
    const { trx } = scope;
    const begin = trx.transaction.bind(trx) as (work: Work | undefined, config?: Knex.TransactionConfig) => unknown;
    const transaction = (work?: Work, config?: Knex.TransactionConfig) => {
      if (work) return begin((inner) => this.#current.run(this.#open(inner, scope), () => work(inner)), config);
      return (begin(undefined, config) as Promise<Knex.Transaction>).then((inner) => this.#open(inner, scope).trx);
    };
    Object.defineProperty(trx, "transaction", { value: transaction, configurable: true });
  }
}

type Work = (trx: Knex.Transaction) => unknown;
type End = (value?: unknown) => Promise<unknown>;

async function after(first: Promise<unknown> | undefined, end: () => Promise<unknown>): Promise<unknown> {
  if (first) await first.catch(() => undefined);
  return end();
}

/** Knex's own commit never rejects, so that there may be nobody who hears that ours does. */
function heard<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/**
 * Knex resolves a commit that failed, and PostgreSQL answers the COMMIT of an aborted transaction with ROLLBACK: yes is an
 * answer that names COMMIT or, on MySQL, where knex keeps the answer to itself, an execution that resolved (all seen).
 */
async function isYes(trx: Knex.Transaction, answer: unknown): Promise<boolean> {
  const command = (answer as { response?: { command?: string } } | undefined)?.response?.command;
  if (command !== undefined) return command === "COMMIT";
  return trx.executionPromise.then(
    () => true,
    () => false,
  );
}
