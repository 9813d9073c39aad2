import type { BareTimersOptions } from "../contenders/bare-timers.js";
import type { CarteiroDrainOptions } from "../contenders/carteiro-drain.js";
import type { Scenario } from "../harness/types.js";

const AT_ONCE = 64;
const FUNCTION_MS = 5;

export const scenario: Scenario = {
  name: "many-keys",
  title: "Drain keep-order calls of 10,000 ordering keys, functions of 5 ms, 64 at once",
  unit: "calls/s",
  calls: 30_000,
  contenders: [
    {
      name: "carteiro",
      role: "ours",
      file: "carteiro-drain",
      options: {
        strategy: "keep-order",
        keys: 10_000,
        concurrency: AT_ONCE,
        functionMs: FUNCTION_MS,
      } satisfies CarteiroDrainOptions,
    },
    {
      name: "64 bare loops of setTimeout(5)",
      role: "limit",
      file: "bare-timers",
      options: { loops: AT_ONCE, timerMs: FUNCTION_MS } satisfies BareTimersOptions,
    },
  ],
  targets: [{ contender: "carteiro", against: "64 bare loops of setTimeout(5)", atLeast: 0.8 }],
};
