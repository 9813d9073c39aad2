import { decodePayload } from "../codec.js";
import { UndecodablePayloadError } from "../errors.js";
import { headersOf } from "../run/headers.js";
import type { CallFilter } from "../store/call-filter.js";
import type { Seq } from "../store/dialect.js";
import type { CallAction, SelectedCall } from "../store/operate-calls.js";
import type { StoredCall } from "../store/stored-call.js";
import type { CallDetails, CallSelection, ChangeOptions, GetOptions, ListedCall, ListOptions } from "../types.js";
import { confirmed } from "./confirm.js";
import { id as checkId, resolveCalls, resolveChangeOptions, resolveGetOptions, resolveListOptions } from "./options.js";
import type { OperatorParts } from "./parts.js";

/** Locked by one statement. */
const BATCH = 1000;
/** Calls that are hidden before their streams' holders are waited for. */
const MOST_HIDDEN = 10_000;

/** The operator's hands on calls. */
export class CallsOperator {
  readonly #parts: OperatorParts;

  /** @internal */
  constructor(parts: OperatorParts) {
    this.#parts = parts;
  }

  /**
   * A page of calls, in the order in which they were stored.
   *
   * @throws {@link NotMigratedError} the tables are missing
   * @throws {@link InvalidOptionError} naming the option
   * @throws {@link OutboxClosedError} after `close`
   */
  readonly list = (options: ListOptions = {}): Promise<ListedCall[]> => {
    return this.#parts.whileOpen("calls.list", async () => {
      return this.#parts.store.listCalls(resolveListOptions(options));
    });
  };

  /**
   * All of one call; undefined where it is not stored, perhaps because it has run.
   *
   * @throws {@link NotMigratedError} the tables are missing
   * @throws {@link InvalidOptionError} naming the option
   * @throws {@link OutboxClosedError} after `close`
   */
  readonly get = (id: string, options: GetOptions = {}): Promise<CallDetails | undefined> => {
    const { whileOpen, store } = this.#parts;
    return whileOpen("calls.get", async () => {
      const { args: withArgs } = resolveGetOptions(options);
      const ids = [checkId("id", id)];
      const [[listed], parts] = await Promise.all([
        store.listCalls({ ids, limit: 1 }),
        store.readCall(ids[0] as string, withArgs),
      ]);
      if (!listed || !parts) return undefined;
      const { call, payloadBytes, settledAt } = parts;
      return {
        ...listed,
        headers: headersOf(call.headers),
        version: call.version,
        codec: call.codec,
        payloadBytes,
        isSigned: call.signature !== undefined,
        suspectRuns: call.suspectRuns,
        ...(settledAt ? { settledAt } : {}),
        ...(withArgs ? this.#decoded(call) : {}),
      };
    });
  };

  /**
   * Runs calls again: dead ones, and those that failed and wait for their next attempt, blocked heads among them; the others
   * are left as they are. They are due at once, and their retry schedules begin anew. A keep-order call comes back to its
   * place in front of the later ones of its key that have not run. Calls of a parked key wait for `keys.resume`.
   *
   * @param calls - an id, ids, or what narrows them
   * @throws {@link NotMigratedError} the tables are missing
   * @throws {@link InvalidOptionError} naming the option; also where nothing narrows the calls
   * @throws {@link OutboxClosedError} after `close`
   */
  readonly retry = (
    calls: string | readonly string[] | CallSelection,
    options: ChangeOptions = {},
  ): Promise<{ retried: number }> => {
    const { whileOpen, store, logger, wake } = this.#parts;
    return whileOpen("calls.retry", async () => {
      const filter = resolveCalls("calls.retry", calls);
      const { dryRun, onProgress } = resolveChangeOptions("calls.retry", options);
      if (dryRun) return { retried: await store.countSelected("retry", filter) };
      let retried = 0;
      for await (const batch of this.#batches("retry", filter)) {
        retried += await store.retryCalls(batch.map(({ seq }) => seq));
        this.#tell(onProgress, retried);
      }
      logger.info({ retried }, "retried by a person");
      wake();
      return { retried };
    });
  };

  /**
   * Deletes calls, whatever their state, except those that are running: they are counted as `running`. Sent ones are left to
   * the cleaner unless an id or `state: "sent"` names them. A process that has read a call ahead does not run it any more
   * once this has resolved.
   *
   * @param calls - an id, ids, or what narrows them
   * @throws {@link NotMigratedError} the tables are missing
   * @throws {@link InvalidOptionError} naming the option; also where nothing narrows the calls
   * @throws {@link OutboxClosedError} after `close`
   * @throws {@link UnconfirmedError} a process that serves a stream did not answer; its calls are dead then, not deleted
   */
  readonly discard = (
    calls: string | readonly string[] | CallSelection,
    options: ChangeOptions = {},
  ): Promise<{ discarded: number; running: number }> => {
    const { whileOpen, store, logger } = this.#parts;
    return whileOpen("calls.discard", async () => {
      const filter = resolveCalls("calls.discard", calls);
      const { dryRun, onProgress } = resolveChangeOptions("calls.discard", options);
      if (dryRun) return { discarded: await store.countSelected("discard", filter), running: 0 };
      const result = { discarded: 0, running: 0 };
      const hidden = new Hidden();
      const finish = async () => {
        const { discarded, running } = await this.#finish(hidden);
        result.discarded += discarded;
        result.running += running;
        this.#tell(onProgress, result.discarded);
      };
      for await (const batch of this.#batches("discard", filter)) {
        const sent = batch.filter((call) => call.isSent).map(({ seq }) => seq);
        if (sent.length > 0) result.discarded += await store.discardSent(sent);
        const others = batch.filter((call) => !call.mayBeReadAhead && !call.isSent).map(({ seq }) => seq);
        const discarded = others.length > 0 ? await store.discardCalls(others) : 0;
        result.discarded += discarded;
        result.running += others.length - discarded;
        for (const [stream, seqs] of byStream(batch.filter((call) => call.mayBeReadAhead))) {
          hidden.add(stream, seqs, await store.hideCalls(stream, seqs));
        }
        if (hidden.size >= MOST_HIDDEN) await finish();
        else this.#tell(onProgress, result.discarded);
      }
      if (hidden.size > 0) await finish();
      logger.info(result, "discarded by a person");
      return result;
    });
  };

  /** Whoever is told cannot stop what is half done: one that throws, or rejects, is logged. */
  #tell(onProgress: ChangeOptions["onProgress"], done: number): void {
    void (async () => {
      await onProgress?.(done);
    })().catch((error: unknown) => {
      this.#parts.logger.error({ err: error }, "an onProgress failed");
    });
  }

  /** What their holders were running comes back, the rest goes. */
  async #finish(hidden: Hidden): Promise<{ discarded: number; running: number }> {
    const { store } = this.#parts;
    const result = { discarded: 0, running: 0 };
    for (const { stream, seqs, epoch } of hidden.take()) {
      const inFlight = await confirmed(this.#parts, stream, epoch);
      const running = seqs.filter((seq) => inFlight.has(String(seq)));
      await store.restoreHidden(stream, running);
      result.running += running.length;
      const rest = seqs.filter((seq) => !inFlight.has(String(seq)));
      for (let start = 0; start < rest.length; start += BATCH) {
        const batch = rest.slice(start, start + BATCH);
        const discarded = await store.discardCalls(batch);
        result.discarded += discarded;
        // What was running, and has been settled before the answer was read.
        result.running += batch.length - discarded;
      }
    }
    return result;
  }

  async *#batches(action: CallAction, filter: CallFilter): AsyncGenerator<SelectedCall[]> {
    let after: Seq | undefined;
    do {
      const selection = await this.#parts.store.selectCalls(action, filter, after, BATCH);
      if (selection.calls.length > 0) yield selection.calls;
      after = selection.after;
    } while (after !== undefined);
  }

  #decoded(call: StoredCall): Pick<CallDetails, "args" | "argsError"> {
    const { registry } = this.#parts;
    try {
      const codec = registry.codecNamed(call.codec);
      if (!codec) {
        throw new UndecodablePayloadError(
          `the codec "${call.codec}" is unknown to this process; pass it to createOutbox`,
        );
      }
      return { args: decodePayload(codec, call.payload ?? "") };
    } catch (error) {
      return { argsError: error };
    }
  }
}

/** Calls that are hidden, and not deleted yet. */
class Hidden {
  readonly #streams = new Map<string, { seqs: Seq[]; epoch: string }>();
  size = 0;

  add(stream: string, seqs: readonly Seq[], epoch: string): void {
    const present = this.#streams.get(stream);
    this.#streams.set(stream, { seqs: [...(present?.seqs ?? []), ...seqs], epoch });
    this.size += seqs.length;
  }

  take(): { stream: string; seqs: Seq[]; epoch: string }[] {
    const all = [...this.#streams].map(([stream, rest]) => ({ stream, ...rest }));
    this.#streams.clear();
    this.size = 0;
    return all;
  }
}

function byStream(calls: readonly SelectedCall[]): Map<string, Seq[]> {
  const streams = new Map<string, Seq[]>();
  for (const { stream, seq } of calls) {
    const seqs = streams.get(stream);
    if (seqs) seqs.push(seq);
    else streams.set(stream, [seq]);
  }
  return streams;
}
