import { quantile } from "../../harness/statistics.js";
import type { Metrics } from "../../harness/types.js";

/** Milliseconds of a clock that all processes of a machine share. */
export function sharedNowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** @param suffix tells these from other samples of the round */
export function latencies(samplesMs: readonly number[], suffix = ""): Metrics {
  return { [`p50${suffix}`]: quantile(samplesMs, 0.5), [`p99${suffix}`]: quantile(samplesMs, 0.99) };
}
