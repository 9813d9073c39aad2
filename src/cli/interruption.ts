import type { EventEmitter } from "node:events";
import { constants } from "node:os";
import type { Screen } from "./screen.js";

export interface InterruptibleProcess extends Pick<EventEmitter, "on"> {
  stdin: { isTTY?: boolean };
  exit: (code: number) => void;
}

const SIGNALS = ["SIGINT", "SIGTERM"] as const;
/** Ctrl-C reaches a whole process group, and `npm run` passes it on once more. */
const SAME_KEY_MS = 250;

/**
 * @returns a signal that aborts at the first SIGINT or SIGTERM, with the signal's name as the reason. A second one ends
 *   the process at once, with 128 and its number as the exit code.
 */
export function listenForInterruption(screen: Screen, target: InterruptibleProcess = process): AbortSignal {
  const interruption = new AbortController();
  let interruptedAt = 0;
  const onSignal = (name: (typeof SIGNALS)[number]) => {
    if (!interruption.signal.aborted) {
      interruptedAt = performance.now();
      screen.warn(`${name}: finishing the runs in flight; a second signal ends them`);
      interruption.abort(name);
    } else if (!(target.stdin.isTTY && name === "SIGINT" && performance.now() - interruptedAt < SAME_KEY_MS)) {
      screen.status("");
      target.exit(128 + constants.signals[name]);
    }
  };
  for (const name of SIGNALS) target.on(name, () => onSignal(name));
  return interruption.signal;
}

/** Resolves when `signal` aborts. */
export function interrupted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
