import { oneOf } from "./checks.js";
import { InvalidOptionError } from "./errors.js";
import type { Logger, OutboxEventName, OutboxEvents, OutboxListener } from "./types.js";

const EVENTS: readonly OutboxEventName[] = [
  "saved",
  "published",
  "failed",
  "dead",
  "blocked",
  "parked",
  "unroutable",
  "leaseLost",
  "abandoned",
  "cleaned",
];

/** Tells listeners what happened. A listener that throws or rejects is logged and harms nothing. */
export class Events {
  readonly #listeners = new Map<OutboxEventName, Set<OutboxListener<never>>>();
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** @returns a function that takes the listener off again */
  on<Name extends OutboxEventName>(name: Name, listener: OutboxListener<Name>): () => void {
    oneOf("event", name, EVENTS);
    if (typeof listener !== "function") throw new InvalidOptionError("listener", "must be a function");
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  has(name: OutboxEventName): boolean {
    return (this.#listeners.get(name)?.size ?? 0) > 0;
  }

  emit<Name extends OutboxEventName>(name: Name, event: OutboxEvents[Name]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      void this.#tell(name, listener as OutboxListener<Name>, event);
    }
  }

  async #tell<Name extends OutboxEventName>(name: Name, listener: OutboxListener<Name>, event: OutboxEvents[Name]) {
    try {
      await listener(event);
    } catch (error) {
      this.#logger.error({ event: name, err: error }, `a listener of "${name}" failed`);
    }
  }
}
