import type { Outcome } from "../run/run.js";
import type { QueuedCall } from "../store/fetch-stream.js";
import type { StreamLease, StreamSettlement } from "../store/serve-stream.js";
import type { Store } from "../store/store.js";
import type { ConclusionParts } from "./conclusion.js";
import type { Lane } from "./lane.js";
import type { StrategyParts } from "./parts.js";
import type { StreamLeaseKeeper } from "./stream-lease.js";

/** What the lanes of a stream share. */
export interface LaneParts extends Omit<StrategyParts, "store" | "leaseMs">, ConclusionParts {
  store: Pick<Store, "fetchHeld">;
  lease: StreamLease;
  keeper: StreamLeaseKeeper;
  /** Whether the first call of a lane may be what ended the process that served the stream before; `takeSuspicion` where it is run. */
  isSuspect: (kind: LaneKind) => boolean;
  takeSuspicion: (kind: LaneKind) => void;
  /** Has it written down, in the order of the lane, and the lane told of that by `settled`. */
  settle: (settlement: LaneSettlement) => void;
  /** The first of these calls that are not left to the next pass. */
  partOfPass: (calls: QueuedCall[]) => QueuedCall[];
  onUnroutable: (call: QueuedCall) => void;
  /** The lane's calls were run and settled, or its head cannot go on, or the pass is over. */
  onEnded: (lane: Lane, failure: { error: unknown } | undefined) => void;
}

export type LaneKind = "line" | "aside";

export interface LaneSettlement {
  lane: Lane;
  /** Calls of one key are settled in their order. */
  key: string;
  settlement: StreamSettlement;
  /** Is called once that is written down. */
  report?: (() => void) | undefined;
  /** Of a run that succeeded, to be reported then. */
  outcome?: Outcome;
}

/** Whether it was written down: `false` where the lease is lost. */
export type LaneSettled = boolean | { error: unknown };
