import { age, refuseUnknown, timer, wholeNumber } from "./checks.js";
import { InvalidOptionError } from "./errors.js";
import { shown } from "./shown.js";
import type { CleanOptions, RelayerOptions, RelayOptions } from "./types.js";

const RELAY_OPTIONS: Record<keyof RelayOptions, true> = { stream: true, limit: true, deadline: true };
const RELAYER_OPTIONS: Record<keyof RelayerOptions, true> = { stream: true, interval: true, onError: true };
const CLEAN_OPTIONS: Record<keyof CleanOptions, true> = { olderThan: true, batchSize: true, dryRun: true };
const DEFAULT_BATCH_SIZE = 1000;

export function checkRelayOptions(options: RelayOptions): RelayOptions {
  refuseUnknown("relay", options, RELAY_OPTIONS);
  const { limit, deadline } = options;
  if (limit !== undefined) wholeNumber("limit", limit, 0);
  if (deadline !== undefined && !(deadline instanceof Date && Number.isFinite(deadline.getTime()))) {
    throw new InvalidOptionError("deadline", `is ${shown(deadline)}; give a valid Date`);
  }
  return options;
}

export function resolveRelayerOptions(options: RelayerOptions, pollIntervalMs: number) {
  refuseUnknown("startRelayer", options, RELAYER_OPTIONS);
  const { stream, interval, onError } = options;
  return { stream, onError, intervalMs: interval === undefined ? pollIntervalMs : timer("interval", interval) };
}

export function resolveCleanOptions(options: CleanOptions, retentionMs: number) {
  refuseUnknown("clean", options, CLEAN_OPTIONS);
  const { olderThan, batchSize = DEFAULT_BATCH_SIZE, dryRun = false } = options;
  return {
    olderThanMs: olderThan === undefined ? retentionMs : age("olderThan", olderThan),
    batchSize: wholeNumber("batchSize", batchSize, 1),
    dryRun,
  };
}
