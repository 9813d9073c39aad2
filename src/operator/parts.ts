import type { Registry } from "../registry.js";
import type { Store } from "../store/store.js";
import type { Logger } from "../types.js";

/** What a person's changes are made with. */
export interface OperatorParts {
  store: Store;
  registry: Registry;
  logger: Logger;
  leaseMs: number;
  /**
   * Does `work`, which a `close` meanwhile waits for.
   *
   * @throws {OutboxClosedError} naming what was called
   */
  whileOpen: <T>(what: string, work: () => Promise<T>) => Promise<T>;
  /** The streams that this process serves look at once for what was changed, and its relayers for what is due. */
  wake: () => void;
}
