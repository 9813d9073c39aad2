import type { Command } from "commander";
import type { Outbox } from "../outbox.js";
import type { CallDetails, KeyOfStream } from "../types.js";
import { requireConsent } from "./consent.js";
import { NotDoneError } from "./failure.js";
import { addKeyOption } from "./keys.js";
import type { Screen } from "./screen.js";
import { errorText, keyText, oneLine } from "./text.js";
import { waiting } from "./waiting.js";
import { type CommonOptions, withOutbox } from "./with-outbox.js";

interface SkipHeadCommandOptions extends CommonOptions {
  key?: string;
  id?: string;
  reason?: string;
  yes?: boolean;
}

export function addSkipHead(program: Command, screen: Screen): void {
  const command = program
    .command("skip-head")
    .summary("give up the first call of a key")
    .description(
      "Gives up the first call of an ordering key, whatever its state, so that the next one runs. It is kept as dead, with " +
        "the reason. One that is running just now is not given up.",
    );
  addKeyOption(command)
    .option("--id <call>", "only if it is this call (default: whichever it is)")
    .option("--reason <text>", "kept with the call, in front of its last error; at most 1000 characters")
    .option("--yes", "do it; without, the call is shown only")
    .addHelpText(
      "after",
      `
Without --yes it asks on a terminal; elsewhere it prints what it would do, and
ends with exit code 2. \`carteiro retry\` brings the call back, in front of those
of its key that have not run. A command that failed, or was interrupted, may be
given again with --id: the call behind the one that is meant is left alone.

Example:
  $ carteiro skip-head orders --key customer-17 --reason "cancelled" --yes`,
    )
    .action(async (stream: string, _: unknown, command: Command) => {
      const { key: orderingKey, id: meant, reason, yes, ...common } = command.optsWithGlobals<SkipHeadCommandOptions>();
      const key = { stream, orderingKey };
      const words = keyText(stream, orderingKey);
      const head = await withOutbox(
        common,
        async (outbox) => {
          const id = yes ? meant : await consentedHead(outbox, screen, key, meant);
          const head = await waiting(outbox, screen, stream, () => outbox.keys.skipHead(key, { reason, id }));
          if (head) requireMeant(key, head.id, id);
          return head;
        },
        ["keys.skipHead", "calls.get"],
      );
      if (!head) throw noCall(words);
      if (!head.skipped) throw new NotDoneError(`${words}: the first call, ${head.id}, is running just now`);
      screen.print(`given up: ${head.id}, the first call of ${words}`);
    });
}

function noCall(words: string): NotDoneError {
  return new NotDoneError(`${words}: there is no call that waits to be run`);
}

/** @throws {NotDoneError} the first call is another one than that which is meant */
function requireMeant({ stream, orderingKey }: KeyOfStream, first: string, meant: string | undefined): void {
  if (meant === undefined || meant.toLowerCase() === first) return;
  throw new NotDoneError(
    `${keyText(stream, orderingKey)}: nothing was changed, since the first call is ${first} by now`,
  );
}

/**
 * Shows the first call of the key.
 *
 * @param meant the only one that may be given up; undefined where it may be any
 * @returns the id of the one that may be given up
 * @throws {NotDoneError} the key has no call, or another one, or nobody wants it
 */
async function consentedHead(
  outbox: Outbox,
  screen: Screen,
  key: KeyOfStream,
  meant: string | undefined,
): Promise<string> {
  const words = keyText(key.stream, key.orderingKey);
  let call: CallDetails | undefined;
  // Where it ran in between, the next one is the first.
  while (!call) {
    const head = await outbox.keys.skipHead(key, { id: meant, dryRun: true });
    if (!head) throw noCall(words);
    requireMeant(key, head.id, meant);
    call = await outbox.calls.get(head.id);
  }
  const error = call.lastError === undefined ? "" : `: ${errorText(call.lastError)}`;
  const shown = oneLine(`${call.function} ${call.id} (${call.state}, attempts ${call.attempts}${error})`);
  await requireConsent(screen, `give up ${shown} of ${words}`);
  return call.id;
}
