import type { Outbox } from "../outbox.js";
import type { Screen } from "./screen.js";
import { oneLine } from "./text.js";

const SILENT_MS = 1000;

export interface Waiting {
  /** Something has been shown: the silence begins anew. */
  again(): void;
  stop(): void;
}

/**
 * Tells on a terminal, after a second of silence, whose confirmation a change waits for: up to a lease where the process that
 * serves the stream has crashed.
 *
 * @param stream the one that is changed; undefined where it may be any
 */
export function tellWaiting(outbox: Pick<Outbox, "streams">, screen: Screen, stream: string | undefined): Waiting {
  let timer: NodeJS.Timeout | undefined;
  const stop = () => {
    clearTimeout(timer);
    timer = undefined;
    screen.status("");
  };
  const begin = () => {
    if (!screen.isTerminal) return;
    clearTimeout(timer);
    const own = (timer = setTimeout(() => {
      // That this, too, cannot be asked now is no reason to fail.
      void holdersOf(outbox, stream).then(
        (holders) => {
          if (timer === own && holders !== "") screen.status(`waiting for ${holders}…`);
        },
        () => undefined,
      );
    }, SILENT_MS));
  };
  begin();
  return { again: begin, stop };
}

/** Does `work` on a stream, and tells whom it waits for. */
export async function waiting<T>(outbox: Outbox, screen: Screen, stream: string, work: () => Promise<T>): Promise<T> {
  const told = tellWaiting(outbox, screen, stream);
  return work().finally(() => told.stop());
}

async function holdersOf(outbox: Pick<Outbox, "streams">, stream: string | undefined): Promise<string> {
  const streams = await outbox.streams.list();
  const holders = streams.flatMap((status) =>
    status.servedBy !== undefined && (stream === undefined || stream === status.stream) ? [status.servedBy] : [],
  );
  return [...new Set(holders)].map(oneLine).join(", ");
}
