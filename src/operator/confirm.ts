import { UnconfirmedError } from "../errors.js";
import type { Seq } from "../store/dialect.js";
import type { OperatorParts } from "./parts.js";

const FIRST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 250;
/** A holder confirms at its next poll, or its lease ends; only one of an older release does neither. */
const LEASES = 3;

/**
 * Waits until whoever serves the stream has dropped what it had read before the change, or serves it no more.
 *
 * @returns the calls that it could not drop, since they run, or ran and are not settled yet
 * @throws {UnconfirmedError} it has not said so for three leases
 */
export async function confirmed(
  { store, leaseMs, wake }: OperatorParts,
  stream: string,
  epoch: string,
): Promise<Set<string>> {
  wake();
  const until = performance.now() + LEASES * leaseMs;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    const inFlight: Seq[] | undefined = await store.readConfirmation(stream, epoch);
    if (inFlight) return new Set(inFlight.map(String));
    if (performance.now() > until) {
      throw new UnconfirmedError(
        `the change of stream "${stream}" is written down, but the process that serves it has not confirmed it for ${LEASES * leaseMs} ms, so that a call which it had read ahead may still run; stop that process (carteiro status tells which)`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}
