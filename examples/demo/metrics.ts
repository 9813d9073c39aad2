import type { Outbox } from "carteiro";

export interface FunctionMetrics {
  /** Calls that succeeded, by who ran them. */
  sentOnCommit: number;
  sentByRelay: number;
  failedRuns: number;
  dead: number;
  meanMs: number;
}

/** Counts what an outbox tells by its events, for each function. */
export class Metrics {
  readonly #byFunction = new Map<string, FunctionMetrics & { runs: number }>();

  constructor(outbox: Outbox) {
    outbox.on("published", ({ call, source, durationMs }) => {
      const metrics = this.#countRun(call.function, durationMs);
      if (source === "commit") metrics.sentOnCommit += 1;
      else metrics.sentByRelay += 1;
    });
    outbox.on("failed", ({ call, durationMs }) => {
      this.#countRun(call.function, durationMs).failedRuns += 1;
    });
    outbox.on("dead", ({ call }) => {
      this.of(call.function).dead += 1;
    });
  }

  get functions(): string[] {
    return [...this.#byFunction.keys()].sort();
  }

  of(functionName: string): FunctionMetrics & { runs: number } {
    let metrics = this.#byFunction.get(functionName);
    if (!metrics) {
      metrics = { sentOnCommit: 0, sentByRelay: 0, failedRuns: 0, dead: 0, meanMs: 0, runs: 0 };
      this.#byFunction.set(functionName, metrics);
    }
    return metrics;
  }

  #countRun(functionName: string, durationMs: number): FunctionMetrics {
    const metrics = this.of(functionName);
    metrics.runs += 1;
    metrics.meanMs += (durationMs - metrics.meanMs) / metrics.runs;
    return metrics;
  }
}
