import { NotDoneError, UsageError } from "./failure.js";
import type { Screen } from "./screen.js";

/**
 * Goes on where `--yes` was given, or where somebody at the terminal says so.
 *
 * @param what would be done, such as `retry 3 calls`
 * @throws {UsageError} nobody can be asked
 * @throws {NotDoneError} the answer was no
 */
export async function requireConsent(screen: Screen, what: string, isGiven = false): Promise<void> {
  if (isGiven) return;
  if (!screen.canAsk) {
    screen.print(`would ${what}`);
    throw new UsageError("nothing was changed: --yes does it");
  }
  const answer = await screen.ask(`${what}? [y/N] `);
  if (!/^\s*y(es)?\s*$/i.test(answer)) throw new NotDoneError("nothing was changed");
}
