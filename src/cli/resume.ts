import type { Command } from "commander";
import { NotDoneError } from "./failure.js";
import { addKeyOption } from "./keys.js";
import type { Screen } from "./screen.js";
import { keyText, streamText } from "./text.js";
import { type CommonOptions, withOutbox } from "./with-outbox.js";

interface ResumeCommandOptions extends CommonOptions {
  key?: string;
}

export function addResume(program: Command, screen: Screen): void {
  const command = program
    .command("resume")
    .summary("end the pause of a stream, or bring a parked key back")
    .description(
      "Ends the pause of a stream. With --key it brings back a parked ordering key instead: its calls run in their order.",
    );
  addKeyOption(command, 'the parked ordering key; "" means the calls without one (default: the stream itself)')
    .addHelpText("after", "\nExamples:\n  $ carteiro resume orders\n  $ carteiro resume orders --key customer-17")
    .action(async (stream: string, _: unknown, command: Command) => {
      const { key: orderingKey, ...common } = command.optsWithGlobals<ResumeCommandOptions>();
      const isOfKey = orderingKey !== undefined;
      const { resumed } = await withOutbox(
        common,
        (outbox) => (isOfKey ? outbox.keys.resume({ stream, orderingKey }) : outbox.streams.resume(stream)),
        [isOfKey ? "keys.resume" : "streams.resume"],
      );
      const what = isOfKey ? keyText(stream, orderingKey) : streamText(stream);
      if (!resumed) throw new NotDoneError(`${what}: not ${isOfKey ? "parked" : "paused"}`);
      screen.print(`resumed ${what}`);
    });
}
