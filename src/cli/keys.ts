import type { Command } from "commander";

/** The stream, and the ordering key, that a command is about. */
export function addKeyOption(command: Command, help = "the ordering key (default: the calls without one)"): Command {
  return command.argument("<stream>", "the stream's name").option("--key <key>", help);
}
