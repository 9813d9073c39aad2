import { CronTime } from "cron";
import { MAX_TIMER_MS } from "./duration.js";
import { InvalidOptionError } from "./errors.js";
import { refuseUnknown } from "./checks.js";
import { shown } from "./shown.js";
import type { Logger, Schedule, ScheduleOptions } from "./types.js";

const OPTIONS: Record<keyof ScheduleOptions, true> = { relay: true, clean: true, timeZone: true };

/**
 * Does its work at each moment of a cron expression. The next moment is looked up when the work has ended, so that passes
 * never overlap, and a moment that went by meanwhile is skipped.
 */
class CronLoop {
  readonly #time: CronTime;
  readonly #work: () => Promise<unknown>;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #isStopped = false;

  /** @throws {Error} for an expression or a time zone that cannot be used */
  constructor(expression: string, timeZone: string | undefined, work: () => Promise<unknown>) {
    this.#time = new CronTime(expression, timeZone ?? null, null);
    this.#work = work;
    this.#waitUntil(this.#next());
  }

  #next(): number {
    return this.#time.sendAt().toMillis();
  }

  /** By the clock: a timer can fire early, and then the same moment would be the next one again. */
  #waitUntil(moment: number): void {
    const ms = Math.min(Math.max(moment - Date.now(), 0), MAX_TIMER_MS);
    this.#timer = setTimeout(() => (Date.now() < moment ? this.#waitUntil(moment) : this.#tick()), ms);
  }

  #tick(): void {
    this.#running = this.#work().then(() => {
      this.#running = undefined;
      if (!this.#isStopped) this.#waitUntil(this.#next());
    });
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }
}

/** @throws {InvalidOptionError} an unknown option, expression or time zone */
export function startSchedule(
  options: ScheduleOptions,
  work: { relay: () => Promise<unknown>; clean: () => Promise<unknown> },
  logger: Logger,
): Schedule {
  refuseUnknown("schedule", options, OPTIONS);
  if (options.timeZone !== undefined) requireTimeZone(options.timeZone);
  const loops: CronLoop[] = [];
  const stop = async () => {
    await Promise.all(loops.map((loop) => loop.stop()));
  };
  for (const name of ["relay", "clean"] as const) {
    const expression = options[name];
    if (expression === undefined) continue;
    try {
      if (typeof expression !== "string") throw new TypeError("it is no text");
      loops.push(
        new CronLoop(expression, options.timeZone, () =>
          work[name]().catch((error: unknown) => {
            logger.error({ err: error }, `a scheduled pass of "${name}" failed; the next one comes by itself`);
          }),
        ),
      );
    } catch (error) {
      void stop();
      throw new InvalidOptionError(name, `is ${shown(expression)}, which is no schedule: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }
  if (loops.length === 0)
    throw new InvalidOptionError("schedule", "needs a cron expression for relay, for clean or for both");
  return { stop };
}

function requireTimeZone(timeZone: string): void {
  try {
    new Intl.DateTimeFormat("en", { timeZone });
  } catch (error) {
    throw new InvalidOptionError(
      "timeZone",
      `is ${shown(timeZone)}, which is no time zone; give an IANA name such as "Europe/Lisbon"`,
      { cause: error },
    );
  }
}
