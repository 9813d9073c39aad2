import type { Outbox } from "../outbox.js";
import { describeError } from "./failure.js";
import type { Screen } from "./screen.js";
import { summaryOf, Tally } from "./tally.js";
import { keyText, oneLine } from "./text.js";

const TERMINAL_EVERY_MS = 100;
const LOG_EVERY_MS = 10_000;

export interface Progress {
  tally: Tally;
  stop(): void;
}

/**
 * Shows how the runs of this process go: a line that is rewritten in place on a terminal, a line of the log now and then
 * elsewhere where something happened. What went wrong is told at once, on stderr.
 */
export function showProgress(outbox: Pick<Outbox, "on">, screen: Screen): Progress {
  const tally = new Tally();
  const offs = [...countOutcomes(outbox, tally), ...tellTroubles(outbox, screen)];
  let shown = summaryOf(tally);
  const show = () => {
    const summary = summaryOf(tally);
    if (screen.isTerminal) screen.status(progressLine(tally, performance.now()));
    else if (summary !== shown) screen.log(summary);
    shown = summary;
  };
  const timer = setInterval(show, screen.isTerminal ? TERMINAL_EVERY_MS : LOG_EVERY_MS);
  return {
    tally,
    stop() {
      clearInterval(timer);
      for (const off of offs) off();
      screen.status("");
    },
  };
}

function progressLine(tally: Tally, nowMs: number): string {
  const { published, failed, dead } = tally;
  const rate = tally.perSecond(nowMs);
  const isSlow = rate > 0 && rate < 10;
  return `${published} published, ${rate.toFixed(isSlow ? 1 : 0)}/s, ${failed} failed${dead > 0 ? `, ${dead} dead` : ""}`;
}

function countOutcomes(outbox: Pick<Outbox, "on">, tally: Tally): (() => void)[] {
  return [
    outbox.on("published", () => void (tally.published += 1)),
    outbox.on("failed", () => void (tally.failed += 1)),
    outbox.on("dead", () => {
      // It has been counted as failed just before.
      tally.failed -= 1;
      tally.dead += 1;
    }),
    outbox.on("unroutable", () => void (tally.unroutable += 1)),
  ];
}

function tellTroubles(outbox: Pick<Outbox, "on">, screen: Screen): (() => void)[] {
  const { yellow, red } = screen.colors;
  const strangers = new Set<string>();
  return [
    outbox.on("failed", ({ call, attempt, error, nextAttemptAt }) => {
      if (!nextAttemptAt) return;
      const next = `next attempt at ${nextAttemptAt.toISOString()}`;
      screen.warn(`${yellow("failed")} ${nameOf(call)}, attempt ${attempt}: ${describeError(error)}; ${next}`);
    }),
    outbox.on("dead", ({ call, attempt, error }) => {
      screen.warn(`${red("dead")} ${nameOf(call)}, attempt ${attempt}: ${describeError(error)}`);
    }),
    outbox.on("blocked", ({ call, error, nextAttemptAt }) => {
      // With a next attempt it has been told as failed.
      if (nextAttemptAt) return;
      screen.warn(`${red("blocked")} ${nameOf(call)} until a person retries or skips it: ${describeError(error)}`);
    }),
    outbox.on("parked", ({ call, error }) => {
      const key = keyText(call.stream, call.orderingKey);
      screen.warn(`${red("parked")} ${key} behind ${nameOf(call)} until a person resumes it: ${describeError(error)}`);
    }),
    outbox.on("unroutable", (call) => {
      const stranger = oneLine(`${call.function} of the stream ${call.stream}`);
      if (strangers.has(stranger)) return;
      strangers.add(stranger);
      screen.warn(`${yellow("unroutable")} ${stranger}: the configuration registers no such function; import it there`);
    }),
    outbox.on("leaseLost", ({ call, stream }) => {
      const what = call ? nameOf(call) : oneLine(`the stream ${stream}`);
      screen.warn(`${red("lost the lease")} of ${what}: what was running will run again`);
    }),
  ];
}

function nameOf(call: { function: string; id: string }): string {
  return oneLine(`${call.function} ${call.id}`);
}
