import type { Command } from "commander";
import type { Outbox } from "../outbox.js";
import type { ChangeOptions, CallSelection } from "../types.js";
import { bar } from "./bar.js";
import { requireConsent } from "./consent.js";
import { NotDoneError, UsageError } from "./failure.js";
import type { Screen } from "./screen.js";
import { addSelection, isNarrowed, selectionOf, type SelectionValues } from "./selection.js";
import { counted } from "./text.js";
import { tellWaiting } from "./waiting.js";
import { type CommonOptions, withOutbox } from "./with-outbox.js";

interface ChangeCommandOptions extends CommonOptions, SelectionValues {
  yes?: boolean;
}

export type Calls = readonly string[] | CallSelection;

/** What becomes of the calls that a command is given. */
export interface Change {
  verb: "retry" | "discard";
  past: string;
  /** Why it cannot be done to a call that was named. */
  otherwise: string;
  /** @returns how many it was done to, or would be, and how many could not be touched since they run */
  make: (outbox: Outbox, calls: Calls, options: ChangeOptions) => Promise<{ done: number; running: number }>;
}

/** Ids or a filter, a count first, nothing without consent, a bar where it is long. */
export function addChange(command: Command, screen: Screen, { verb, past, otherwise, make }: Change): void {
  command.argument("[ids...]", "the calls; or narrow them by options");
  addSelection(command)
    .option("--yes", "do it; without, they are counted only")
    .action(async (ids: string[], _: unknown, command: Command) => {
      const { yes, ...options } = command.optsWithGlobals<ChangeCommandOptions>();
      const calls = callsOf(verb, ids, selectionOf(options));
      const { done, running } = await withOutbox(
        options,
        async (outbox) => {
          const { done: total } = await make(outbox, calls, { dryRun: true });
          if (total === 0) return { done: 0, running: 0 };
          await requireConsent(screen, `${verb} ${counted(total, "call")}`, yes);
          // A retry waits for nobody.
          const told = verb === "retry" ? undefined : tellWaiting(outbox, screen, options.stream);
          const onProgress = (done: number) => {
            screen.status(bar(done, total));
            told?.again();
          };
          onProgress(0);
          return make(outbox, calls, { onProgress }).finally(() => {
            told?.stop();
            screen.status("");
          });
        },
        [`calls.${verb}`],
      );
      const left = running === 0 ? "" : `; ${running} not, since ${running === 1 ? "it is" : "they are"} running`;
      screen.print(`${past} ${counted(done, "call")}${left}`);
      // Those of a filter are what it finds; each that was named is wanted.
      if ("length" in calls && done < calls.length) {
        throw new NotDoneError(`${calls.length - done} of ${counted(calls.length, "call")}: ${otherwise}`);
      }
    });
}

function callsOf(verb: string, ids: readonly string[], selection: CallSelection): Calls {
  if (ids.length > 0 && isNarrowed(selection))
    throw new UsageError(`${verb} takes ids or options that narrow, not both`);
  if (ids.length > 0) return [...new Set(ids.map((id) => id.toLowerCase()))];
  if (isNarrowed(selection)) return selection;
  throw new UsageError(`${verb} needs to know which calls: give ids, or an option such as --stream or --state`);
}
