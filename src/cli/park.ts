import type { Command } from "commander";
import { addKeyOption } from "./keys.js";
import { warnOfStranger } from "./stranger.js";
import type { Screen } from "./screen.js";
import { keyText } from "./text.js";
import { waiting } from "./waiting.js";
import { type CommonOptions, withOutbox } from "./with-outbox.js";

interface ParkCommandOptions extends CommonOptions {
  key?: string;
}

export function addPark(program: Command, screen: Screen): void {
  const command = program
    .command("park")
    .summary("set an ordering key aside")
    .description(
      "Sets an ordering key of a keep-order stream aside with all its calls, later ones too, until it is resumed. A call " +
        "that is running goes on to its end.",
    );
  addKeyOption(command)
    .addHelpText("after", "\nExample:\n  $ carteiro park orders --key customer-17")
    .action(async (stream: string, _: unknown, command: Command) => {
      const { key: orderingKey = "", ...common } = command.optsWithGlobals<ParkCommandOptions>();
      const { running } = await withOutbox(
        common,
        async (outbox) => {
          await warnOfStranger(outbox, screen, { stream, orderingKey }, "carteiro resume --key brings it back");
          return waiting(outbox, screen, stream, () => outbox.keys.park({ stream, orderingKey }));
        },
        ["keys.park"],
      );
      screen.print(`parked ${keyText(stream, orderingKey)}${running ? "; 1 call still running" : ""}`);
    });
}
