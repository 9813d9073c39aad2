import type { Events } from "../events.js";
import type { Registry } from "../registry.js";
import type { RunContext } from "../run/run.js";
import type { Slots } from "../run/slots.js";
import type { Suspects } from "../run/suspects.js";
import type { Store } from "../store/store.js";
import type { Logger } from "../types.js";

/** What every strategy works with. */
export interface StrategyParts {
  store: Store;
  registry: Registry;
  slots: Slots;
  suspects: Suspects;
  events: Events;
  logger: Logger;
  context: RunContext;
  leaseMs: number;
}
