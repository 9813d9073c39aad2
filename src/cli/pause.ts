import type { Command } from "commander";
import { warnOfStranger } from "./stranger.js";
import type { Screen } from "./screen.js";
import { counted, streamText } from "./text.js";
import { waiting } from "./waiting.js";
import { type CommonOptions, withOutbox } from "./with-outbox.js";

interface PauseCommandOptions extends CommonOptions {
  reason?: string;
}

export function addPause(program: Command, screen: Screen): void {
  program
    .command("pause")
    .summary("begin no more runs of a stream")
    .description(
      "Begins no more runs of a stream, in any process, until it is resumed. Its calls are saved as ever, and those that " +
        "are running go on to their end.",
    )
    .argument("<stream>", "the stream's name")
    .option("--reason <text>", "shown by carteiro status; at most 1000 characters")
    .addHelpText("after", '\nExample:\n  $ carteiro pause orders --reason "the broker moves"')
    .action(async (stream: string, _: unknown, command: Command) => {
      const { reason, ...common } = command.optsWithGlobals<PauseCommandOptions>();
      const { running } = await withOutbox(
        common,
        async (outbox) => {
          await warnOfStranger(outbox, screen, { stream }, "carteiro resume takes the pause back");
          return waiting(outbox, screen, stream, () => outbox.streams.pause(stream, { reason }));
        },
        ["streams.pause"],
      );
      const rest = running === 0 ? "" : `; ${counted(running, "call")} still running`;
      screen.print(`paused ${streamText(stream)}${rest}`);
    });
}
