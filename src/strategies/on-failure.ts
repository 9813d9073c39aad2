import type { FunctionDefinition } from "../registry.js";
import { withPlainError } from "../run/error-text.js";
import { judge } from "../run/judge.js";
import { LazyAbort } from "../run/lazy-abort.js";
import { run } from "../run/run.js";
import { firstThatWorks, stubbornly } from "../run/stubbornly.js";
import type { NewCall } from "../store/insert-calls.js";
import type { StoredCall } from "../store/stored-call.js";
import type { StrategyParts } from "./parts.js";
import { reportOutcome } from "./report.js";

export interface OnFailureOptions extends StrategyParts {
  /** Calls that found no free slot are in the table by now. */
  onStored: (calls: readonly NewCall[]) => void;
}

/**
 * Runs calls of `persist: "on-failure"` after a commit that the database answered with yes. They are stored only if they
 * fail, or find no free slot; a crash before that loses them.
 */
export class OnFailure {
  readonly #options: OnFailureOptions;
  readonly #running = new Set<Promise<void>>();

  constructor(options: OnFailureOptions) {
    this.#options = options;
  }

  start(calls: readonly NewCall[]): void {
    const { slots } = this.#options;
    const taken = slots.takeFree(calls.length);
    for (const call of calls.slice(0, taken)) this.#track(this.#run(call).finally(() => slots.give()));
    if (calls.length > taken) this.#track(this.#leaveToRelay(calls.slice(taken)));
  }

  async #leaveToRelay(calls: NewCall[]): Promise<void> {
    if (await this.#store([calls])) this.#options.onStored(calls);
  }

  /** What is running, or being stored. */
  get running(): Iterable<Promise<unknown>> {
    return this.#running;
  }

  #track(work: Promise<void>): void {
    const running = work.finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #run(call: NewCall): Promise<void> {
    const { registry, context, logger } = this.#options;
    const definition = registry.find(call) as FunctionDefinition;
    const outcome = await run(unstored(call), definition, new LazyAbort(), context);
    if (outcome.result.kind === "succeeded") {
      reportOutcome(this.#options, outcome, "commit", undefined, false);
      return;
    }
    const { error } = outcome.result;
    const { delayMs, error: text } = judge({ ageMs: 0 }, definition, outcome, error, logger);
    const state = delayMs === false ? "dead" : "pending";
    const failed = withPlainError({ state, attempts: 1, error: text } as const, (failure) => [
      { ...call, delayMs: delayMs || 0, failure },
    ]);
    const isStored = await this.#store(failed);
    const nextAttemptAt = isStored && delayMs !== false ? new Date(Date.now() + delayMs) : undefined;
    reportOutcome(this.#options, outcome, "commit", nextAttemptAt, nextAttemptAt === undefined);
  }

  /** @param variants of the same calls, of which one is stored @returns false where they are lost */
  async #store(variants: readonly NewCall[][]): Promise<boolean> {
    const { store, leaseMs, logger } = this.#options;
    try {
      await stubbornly(async () => {
        try {
          await firstThatWorks(variants, (calls) => store.insertAlone(calls));
        } catch (error) {
          // An attempt before this one was committed, and only its answer was lost.
          if (!store.isDuplicate(error)) throw error;
        }
      }, leaseMs);
      return true;
    } catch (error) {
      const callIds = variants[0]?.map((call) => call.id);
      logger.error({ err: error, callIds }, 'calls of persist: "on-failure" could not be stored and are lost');
      return false;
    }
  }
}

/** A call that is not, or not yet, in the table, in the shape of one that is. */
export function unstored(call: NewCall): StoredCall {
  const now = Date.now();
  return { ...call, seq: 0, attempts: 0, suspectRuns: 0, fence: 1, createdAtMs: now, ageMs: 0, clockOffsetMs: 0 };
}
