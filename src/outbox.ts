import { AsyncResource } from "node:async_hooks";
import type { Knex } from "knex";
import { CallWriter } from "./call-writer.js";
import { clean } from "./clean.js";
import { OutboxClosedError } from "./errors.js";
import { Events } from "./events.js";
import { checkRelayOptions, resolveCleanOptions, resolveRelayerOptions } from "./member-options.js";
import { CallsOperator } from "./operator/calls.js";
import { check } from "./operator/check.js";
import { KeysOperator } from "./operator/keys.js";
import type { OperatorParts } from "./operator/parts.js";
import { StreamsOperator } from "./operator/streams.js";
import { resolveOptions, type Settings } from "./options.js";
import { Registry } from "./registry.js";
import { Overtime } from "./run/overtime.js";
import type { Pass } from "./run/pass.js";
import { relayOnce, type RelayParts } from "./relay/relay.js";
import { Relayers, streamsOf } from "./relay/relayers.js";
import type { RunContext } from "./run/run.js";
import { Runs } from "./run/runs.js";
import { Slots } from "./run/slots.js";
import { stubbornly } from "./run/stubbornly.js";
import { Suspects } from "./run/suspects.js";
import { makeSaveToOutbox } from "./save-to-outbox.js";
import { startSchedule } from "./schedule.js";
import type { NewCall } from "./store/insert-calls.js";
import { openStore, type Store } from "./store/store.js";
import { KeepOrder } from "./strategies/keep-order.js";
import { OnFailure } from "./strategies/on-failure.js";
import { PublishOnCommit } from "./strategies/publish-on-commit.js";
import { AmbientTransactions } from "./transaction.js";
import type {
  CheckOptions,
  CleanOptions,
  OutboxEventName,
  OutboxListener,
  OutboxOptions,
  Problem,
  Relayer,
  RelayerOptions,
  RelayOptions,
  RelayResult,
  SaveToOutbox,
  Schedule,
  ScheduleOptions,
} from "./types.js";

/** Stores calls of functions in your transactions, and runs them once those have committed. Made by `createOutbox`. */
export class Outbox {
  readonly #settings: Settings;
  readonly #store: Store;
  readonly #registry: Registry;
  readonly #events: Events;
  readonly #ambient: AmbientTransactions;
  readonly #publishOnCommit: PublishOnCommit;
  readonly #keepOrder: KeepOrder;
  readonly #onFailure: OnFailure;
  readonly #relayParts: RelayParts;
  /** Runs and all that leads to them start here, in the context of `createOutbox`. */
  readonly #context = new AsyncResource("CarteiroOutbox");
  readonly #passes = new Set<Pass>();
  readonly #relaying = new Set<Promise<unknown>>();
  readonly #relayers: Relayers;
  readonly #slots: Slots;
  readonly #schedules = new Set<Schedule>();
  /** What a person asked for, and is not done. */
  readonly #operating = new Set<Promise<unknown>>();
  #closing: Promise<void> | undefined;

  /**
   * Wraps a function: calling what it returns stores the call. Works detached.
   *
   * @throws {@link InvalidOptionError} an option that cannot be used, or that the function's strategy excludes
   * @throws {@link UnnamedFunctionError} the function has no name of its own of at least three characters, and no `name` was given
   * @throws {@link DuplicateFunctionError} the name or an alias is taken
   */
  readonly saveToOutbox: SaveToOutbox;

  constructor(options: OutboxOptions) {
    const settings = resolveOptions(options);
    const { knex, logger, concurrency, leaseMs, abandonAfterMs, pollIntervalMs, signing } = settings;
    const registry = new Registry(settings.codec);
    const events = new Events(logger);
    const store = openStore(settings);
    const slots = new Slots(concurrency);
    const runs = new Runs();
    const suspects = new Suspects({ slots, runs, maxCrashes: settings.maxCrashes });
    const context: RunContext = {
      registry,
      context: this.#context,
      abandonAfterMs,
      runs,
      overtime: new Overtime(),
      signing,
      // A link that breaks for a moment is no failure of the call.
      readPayload: (seq) => stubbornly(() => store.readPayload(seq), leaseMs),
      showsArguments: () => events.has("published"),
    };
    const parts = { store, registry, slots, suspects, events, logger, context, leaseMs, concurrency, pollIntervalMs };
    this.#settings = settings;
    this.#store = store;
    this.#registry = registry;
    this.#events = events;
    this.#publishOnCommit = new PublishOnCommit(parts);
    this.#keepOrder = new KeepOrder(parts);
    this.#onFailure = new OnFailure({ ...parts, onStored: (calls) => this.#hint(calls) });
    this.#relayParts = { store, publishOnCommit: this.#publishOnCommit, keepOrder: this.#keepOrder, concurrency };
    this.#relayers = new Relayers({ ...this.#relayParts, store, logger, notifies: settings.notifies });
    this.#slots = slots;
    const writer = new CallWriter({ store, registry, events, onHint: (calls) => this.#hint(calls) });
    const runUnstored = (calls: readonly NewCall[]) =>
      this.#context.runInAsyncScope(() => this.#onFailure.start(calls));
    this.#ambient = new AmbientTransactions(knex, {
      write: (trx, calls) => writer.write(trx, calls),
      isClosing: () => this.#closing !== undefined,
      committed: runUnstored,
      isWholeRollback: (error) => store.isWholeRollback(error),
    });
    const whileOpen: OperatorParts["whileOpen"] = (what, work) => this.#whileOpen(what, work);
    const operator = { store, registry, logger, leaseMs, whileOpen, wake: () => this.#relayers.wakeAll() };
    this.calls = new CallsOperator(operator);
    this.streams = new StreamsOperator(operator);
    this.keys = new KeysOperator(operator);
    this.saveToOutbox = makeSaveToOutbox({ settings, registry, ambient: this.#ambient, writer, runUnstored });
  }

  /**
   * Begins a knex transaction that is ambient in `work`: calls made inside are stored in it, together, just before its COMMIT.
   * Within another one it is a savepoint, and so is what `trx.transaction` begins in it; one that rolls back takes its calls
   * along, and `.in()` on one of them is written with the rest. Resolves to what `work` returned, once
   * committed; rejects with what `work` threw, rolled back. A `knex.transaction` begun inside is another transaction, and
   * calls made in it go to the outer one, unless they are passed it by `.in(trx)`.
   *
   * @param config knex's own transaction options
   * @throws {@link NotMigratedError} calls were made, and the tables are missing
   */
  readonly transaction = <T>(
    work: (trx: Knex.Transaction) => Promise<T> | T,
    config?: Knex.TransactionConfig,
  ): Promise<T> => this.#ambient.run(work, config);

  /**
   * One pass over what is due now: failed and orphaned calls, and keep-order calls. Resolves when all it ran is settled.
   * A call that fails is counted in the result; what rejects is the work of the relay itself. Don't await it inside a run: it
   * may wait for the slot that this run holds.
   *
   * @throws {@link NotMigratedError} the tables are missing, or older than this version needs
   * @throws {@link SchemaTooNewError} the tables were made by a newer Carteiro
   * @throws {@link OutboxClosedError} after `close`
   * @throws {@link InvalidOptionError} naming the option
   */
  readonly relay = async (options: RelayOptions = {}): Promise<RelayResult> => {
    this.#requireOpen("relay");
    const checked = checkRelayOptions(options);
    const relaying = this.#context.runInAsyncScope(() => relayOnce(this.#relayParts, checked, this.#passes));
    this.#relaying.add(relaying);
    return relaying.finally(() => this.#relaying.delete(relaying));
  };

  /**
   * Starts a loop that looks for due calls at every interval, and when `wakeUps` tell of a commit; those of other processes it
   * hears on a connection more, until the last relayer stops. While the database cannot be reached, or has no tables, it says
   * so to the log and tries again, at growing intervals of up to 30 s.
   *
   * @throws {@link OutboxClosedError} after `close`
   * @throws {@link InvalidOptionError} naming the option
   */
  readonly startRelayer = (options: RelayerOptions = {}): Relayer => {
    this.#requireOpen("startRelayer");
    const resolved = resolveRelayerOptions(options, this.#settings.pollIntervalMs);
    return this.#context.runInAsyncScope(() => this.#relayers.start(resolved));
  };

  /**
   * Deletes sent calls that are older than the retention, in batches; never a pending or dead one. With `dryRun`, `deleted` is
   * what would be.
   *
   * @throws {@link NotMigratedError} the tables are missing
   * @throws {@link OutboxClosedError} after `close`
   * @throws {@link InvalidOptionError} naming the option
   */
  readonly clean = async (options: CleanOptions = {}): Promise<{ deleted: number }> => {
    this.#requireOpen("clean");
    const { logger, retentionMs } = this.#settings;
    return clean({ store: this.#store, events: this.#events, logger }, resolveCleanOptions(options, retentionMs));
  };

  /**
   * Relays and cleans at the moments of cron expressions. Passes of one kind never overlap; one that is missed is no error,
   * and one that fails is logged.
   *
   * @throws {@link InvalidOptionError} an expression or time zone that cannot be used, or neither `relay` nor `clean`
   * @throws {@link OutboxClosedError} after `close`
   */
  readonly schedule = (options: ScheduleOptions): Schedule => {
    this.#requireOpen("schedule");
    const work = { relay: () => this.relay(), clean: () => this.clean() };
    const schedule = this.#context.runInAsyncScope(() => startSchedule(options, work, this.#settings.logger));
    this.#schedules.add(schedule);
    return { stop: () => schedule.stop().finally(() => this.#schedules.delete(schedule)) };
  };

  /**
   * Brings the tables up to date. Safe when many processes start at once: one does the work, the others wait for it.
   *
   * @throws {@link SchemaTooNewError} the tables were made by a newer Carteiro
   * @throws {@link OutboxClosedError} after `close`
   */
  readonly migrate = async (): Promise<void> => {
    this.#requireOpen("migrate");
    await this.#store.migrate();
  };

  /** The stored calls, and the operator's hands on them. */
  readonly calls: CallsOperator;
  /** The streams, and the operator's hands on them. */
  readonly streams: StreamsOperator;
  /** The ordering keys of keep-order streams, and the operator's hands on them. */
  readonly keys: KeysOperator;

  /**
   * What a person should look at: streams whose oldest call has been due for too long, or that have too many, and calls whose
   * function this process does not know. For health checks, and for deploys that remove functions. It counts the whole table.
   *
   * @throws {@link NotMigratedError} the tables are missing, or older than this version needs
   * @throws {@link SchemaTooNewError} the tables were made by a newer Carteiro
   * @throws {@link OutboxClosedError} after `close`
   * @throws {@link InvalidOptionError} naming the option
   */
  readonly check = async (options: CheckOptions = {}): Promise<Problem[]> => {
    this.#requireOpen("check");
    return check({ store: this.#store, registry: this.#registry }, options);
  };

  /**
   * Calls `listener` at each event of that name in this process. One that throws, or rejects, is logged and harms nothing.
   *
   * @returns a function that takes the listener off again
   */
  readonly on = <Name extends OutboxEventName>(event: Name, listener: OutboxListener<Name>): (() => void) =>
    this.#events.on(event, listener);

  /**
   * Resolves when no run of this process is queued or in flight: what waits for its next attempt, or for a relay, is neither.
   * Awaited inside a run, it waits for that run itself: don't.
   */
  readonly idle = async (): Promise<void> => {
    const busy = () => [
      ...this.#relaying,
      ...this.#onFailure.running,
      ...this.#publishOnCommit.running,
      ...this.#keepOrder.running,
    ];
    for (let running = busy(); running.length > 0; running = busy()) await Promise.allSettled(running);
  };

  /**
   * Stops relayers and schedules, lets what runs end (each run within `abandonAfter`), runs also the committed calls of this
   * process that wait for a slot (at most 1,000 wait), lets a person's changes come to their end (each waits at most three
   * leases for an answer), and closes the connections of its own. Your knex stays open. Calls made in transactions afterwards
   * are stored, and left to other processes. Awaited inside a run, it waits for that run: don't.
   */
  readonly close = (): Promise<void> => (this.#closing ??= this.#close());

  async #close(): Promise<void> {
    for (const pass of this.#passes) pass.stop();
    await Promise.all([...this.#schedules, this.#relayers].map((one) => one.stop()));
    await this.#ambient.decided(this.#settings.leaseMs);
    await this.idle();
    // A change that is cut off would leave calls hidden, which nobody deletes, or gives back.
    await Promise.allSettled(this.#operating);
    await this.#relayers.close();
    await this.#store.close();
    this.#context.emitDestroy();
  }

  async #whileOpen<T>(what: string, work: () => Promise<T>): Promise<T> {
    this.#requireOpen(what);
    const operating = work();
    this.#operating.add(operating);
    return operating.finally(() => this.#operating.delete(operating));
  }

  #requireOpen(what: string): void {
    if (this.#closing) throw new OutboxClosedError(`${what} was called after close(); create another outbox`);
  }

  /** The transaction of these calls may have committed. */
  #hint(calls: readonly NewCall[]): void {
    const dueNow = calls.filter((call) => call.delayMs === 0 && call.runAtMs === undefined);
    const ids = dueNow.filter((call) => call.strategy === "publish-on-commit").map((call) => call.id);
    const ordered = ids.length < dueNow.length ? dueNow.filter((call) => call.strategy === "keep-order") : [];
    // Others need not hear of what runs here at once.
    const waiting = ids.length > 0 && (this.#closing || this.#isFull) ? dueNow : ordered;
    this.#context.runInAsyncScope(() => {
      this.#relayers.tellOthers(streamsOf(waiting));
      if (this.#closing) return;
      if (ids.length > 0) this.#publishOnCommit.hint(ids);
      if (ordered.length > 0 && this.#settings.wakesLocally) this.#relayers.wake(streamsOf(ordered));
    });
  }

  /** A call that is to run here has to wait for one that runs. */
  get #isFull(): boolean {
    const free = this.#slots.takeFree(1);
    this.#slots.give(free);
    return free === 0;
  }
}

/**
 * Makes an outbox on a knex instance. It connects when it is first used.
 *
 * @throws {@link InvalidOptionError} naming the option that cannot be used
 */
export function createOutbox(options: OutboxOptions): Outbox {
  return new Outbox(options);
}
