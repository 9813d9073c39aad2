import type { KeyOfStream, SkipOptions } from "../types.js";
import { confirmed } from "./confirm.js";
import { resolveKey, resolveSkipOptions } from "./options.js";
import type { OperatorParts } from "./parts.js";

/** The operator's hands on the ordering keys of keep-order streams. */
export class KeysOperator {
  readonly #parts: OperatorParts;

  /** @internal */
  constructor(parts: OperatorParts) {
    this.#parts = parts;
  }

  /**
   * Runs the first call of a blocked key now, its retry schedule begun anew.
   *
   * @returns the call; undefined where the key does not stand aside, its head is delayed, or it is parked (`resume` it)
   * @throws {@link NotMigratedError} the tables are missing
   * @throws {@link InvalidOptionError} naming the option
   * @throws {@link OutboxClosedError} after `close`
   */
  readonly retryHead = (key: KeyOfStream): Promise<{ id: string } | undefined> => {
    const { whileOpen, store, logger, wake } = this.#parts;
    return whileOpen("keys.retryHead", async () => {
      const { stream, key: bytes } = resolveKey("keys.retryHead", key);
      const head = await store.retryHead(stream, bytes);
      if (!head) return undefined;
      logger.info({ stream, orderingKey: key.orderingKey, callId: head.id }, "head retried by a person");
      wake();
      return { id: head.id };
    });
  };

  /**
   * Gives up the first call of a key, whatever its state: it is kept as dead, with the reason, and the next one runs. One that
   * is running just now is not skipped (`skipped: false`), nor one that is not the call that was meant (`options.id`).
   *
   * @returns the first call, also where it was not skipped; undefined where the key has none
   * @throws {@link NotMigratedError} the tables are missing
   * @throws {@link InvalidOptionError} naming the option
   * @throws {@link OutboxClosedError} after `close`
   * @throws {@link UnconfirmedError} the process that serves the stream did not answer; the call is dead then, with the reason
   */
  readonly skipHead = (
    key: KeyOfStream,
    options: SkipOptions = {},
  ): Promise<{ id: string; skipped: boolean } | undefined> => {
    const { whileOpen, store, logger, wake } = this.#parts;
    return whileOpen("keys.skipHead", async () => {
      const { stream, key: bytes } = resolveKey("keys.skipHead", key);
      const { reason, id: only, dryRun } = resolveSkipOptions(options);
      if (dryRun) {
        const head = await store.readHead(stream, bytes);
        return head && { id: head.id, skipped: false };
      }
      const { head, epoch } = await store.hideHead(stream, bytes, { reason, id: only });
      if (!head) return undefined;
      if (only !== undefined && only !== head.id) return { id: head.id, skipped: false };
      const inFlight = await confirmed(this.#parts, stream, epoch);
      const isRunning = inFlight.has(String(head.seq));
      if (isRunning) await store.restoreHidden(stream, [head.seq]);
      // What was running, and has been settled before the answer was read, is in flight no more, and not skipped.
      const skipped = !isRunning && (await store.giveUpHidden(head.seq));
      if (skipped) {
        logger.info({ stream, orderingKey: key.orderingKey, callId: head.id, reason }, "head skipped by a person");
      }
      wake();
      return { id: head.id, skipped };
    });
  };

  /**
   * Sets a key aside with all its calls, later ones too, until it is resumed. Resolves once whoever serves the stream has
   * dropped what it had read ahead; a call of the key that is `running` goes on to its end.
   *
   * @throws {@link NotMigratedError} the tables are missing
   * @throws {@link InvalidOptionError} naming the option
   * @throws {@link OutboxClosedError} after `close`
   * @throws {@link UnconfirmedError} the process that serves the stream did not answer
   */
  readonly park = (key: KeyOfStream): Promise<{ running: boolean }> => {
    const { whileOpen, store, logger } = this.#parts;
    return whileOpen("keys.park", async () => {
      const { stream, key: bytes } = resolveKey("keys.park", key);
      const epoch = await store.parkKey(stream, bytes);
      logger.info({ stream, orderingKey: key.orderingKey }, "parked by a person");
      const inFlight = await confirmed(this.#parts, stream, epoch);
      return { running: await store.hasOpenCall(stream, bytes, [...inFlight]) };
    });
  };

  /**
   * Brings back a parked key: its calls run in their order, the first one now unless it is delayed, its retry schedule begun anew.
   *
   * @returns whether the key was parked
   * @throws {@link NotMigratedError} the tables are missing
   * @throws {@link InvalidOptionError} naming the option
   * @throws {@link OutboxClosedError} after `close`
   */
  readonly resume = (key: KeyOfStream): Promise<{ resumed: boolean }> => {
    const { whileOpen, store, logger, wake } = this.#parts;
    return whileOpen("keys.resume", async () => {
      const { stream, key: bytes } = resolveKey("keys.resume", key);
      const resumed = await store.resumeKey(stream, bytes);
      if (resumed) logger.info({ stream, orderingKey: key.orderingKey }, "key resumed by a person");
      wake();
      return { resumed };
    });
  };
}
