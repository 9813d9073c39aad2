import { performance } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import type { Contender, Ground } from "../harness/types.js";

export interface BareTimersOptions {
  loops: number;
  timerMs: number;
}

/** As many timers as there are calls, by loops that do nothing else. */
export function open({ calls }: Ground, { loops, timerMs }: BareTimersOptions): Promise<Contender> {
  const measure = async () => {
    const began = performance.now();
    let left = calls;
    const loop = async () => {
      while (left-- > 0) await delay(timerMs);
    };
    await Promise.all(Array.from({ length: loops }, loop));
    return { rate: (calls * 1000) / (performance.now() - began) };
  };
  return Promise.resolve({ measure, close: () => Promise.resolve() });
}
