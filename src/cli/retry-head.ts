import type { Command } from "commander";
import { NotDoneError } from "./failure.js";
import { addKeyOption } from "./keys.js";
import type { Screen } from "./screen.js";
import { keyText } from "./text.js";
import { type CommonOptions, withOutbox } from "./with-outbox.js";

interface RetryHeadCommandOptions extends CommonOptions {
  key?: string;
}

const REMEDIES =
  "a delayed call runs when it is due, unless carteiro skip-head gives it up; carteiro resume --key brings a parked key back";

export function addRetryHead(program: Command, screen: Screen): void {
  const command = program
    .command("retry-head")
    .summary("run the first call of a blocked key now")
    .description("Makes the first call of a blocked ordering key due now, its retry schedule begun anew.");
  addKeyOption(command)
    .addHelpText("after", "\nExample:\n  $ carteiro retry-head orders --key customer-17")
    .action(async (stream: string, _: unknown, command: Command) => {
      const { key: orderingKey, ...common } = command.optsWithGlobals<RetryHeadCommandOptions>();
      const retry = { stream, orderingKey };
      const head = await withOutbox(common, (outbox) => outbox.keys.retryHead(retry), ["keys.retryHead"]);
      if (head) return screen.print(`due now: ${head.id}, the first call of ${keyText(stream, orderingKey)}`);
      throw new NotDoneError(`${keyText(stream, orderingKey)}: not blocked, or delayed, or parked; ${REMEDIES}`);
    });
}
