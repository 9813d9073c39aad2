import type { ReasonOptions, StreamStatus } from "../types.js";
import { confirmed } from "./confirm.js";
import { identifier } from "../checks.js";
import { resolveReason } from "./options.js";
import type { OperatorParts } from "./parts.js";

/** The operator's hands on streams. */
export class StreamsOperator {
  readonly #parts: OperatorParts;

  /** @internal */
  constructor(parts: OperatorParts) {
    this.#parts = parts;
  }

  /**
   * How each stream stands that has a call, is paused, or has a parked key; by name. It counts the whole table.
   *
   * @throws {@link NotMigratedError} the tables are missing
   */
  readonly list = (): Promise<StreamStatus[]> => {
    return this.#parts.whileOpen("streams.list", async () => {
      return this.#parts.store.streamStatus();
    });
  };

  /**
   * Begins no more runs of a stream, in any process, until it is resumed; its calls are saved as ever. Resolves once whoever
   * serves it has dropped what it had read ahead. `running` calls go on to their end. Publish-on-commit calls that a relay has
   * claimed count as such and may begin: as many as it runs in 20 ms, at most 500, and those of a claim on its way. Calls of
   * `persist: "on-failure"` are not stored, and run all the same.
   *
   * @throws {@link NotMigratedError} the tables are missing
   * @throws {@link InvalidOptionError} naming the option
   * @throws {@link OutboxClosedError} after `close`
   * @throws {@link UnconfirmedError} the process that serves the stream did not answer
   */
  readonly pause = (stream: string, options: ReasonOptions = {}): Promise<{ running: number }> => {
    const { whileOpen, store, logger } = this.#parts;
    return whileOpen("streams.pause", async () => {
      const name = identifier("stream", stream);
      const reason = resolveReason("streams.pause", options);
      const epoch = await store.pauseStream(name, reason);
      logger.info({ stream: name, reason }, "paused by a person");
      const inFlight = await confirmed(this.#parts, name, epoch);
      return { running: inFlight.size + (await store.countRunning(name)) };
    });
  };

  /**
   * Ends a pause.
   *
   * @returns whether the stream was paused
   * @throws {@link NotMigratedError} the tables are missing
   * @throws {@link InvalidOptionError} naming the option
   * @throws {@link OutboxClosedError} after `close`
   */
  readonly resume = (stream: string): Promise<{ resumed: boolean }> => {
    const { whileOpen, store, logger, wake } = this.#parts;
    return whileOpen("streams.resume", async () => {
      const name = identifier("stream", stream);
      const resumed = await store.resumeStream(name);
      if (resumed) logger.info({ stream: name }, "resumed by a person");
      wake();
      return { resumed };
    });
  };
}
