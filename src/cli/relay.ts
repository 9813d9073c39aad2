import { type Command, Option } from "commander";
import type { Outbox } from "../outbox.js";
import { startSchedule } from "../schedule.js";
import type { LogMethod } from "../types.js";
import { cronExpression, interval } from "./arguments.js";
import { describeError, UsageError } from "./failure.js";
import { interrupted, listenForInterruption } from "./interruption.js";
import { showProgress } from "./progress.js";
import type { Screen } from "./screen.js";
import { summaryOf } from "./tally.js";
import { type CommonOptions, withOutbox } from "./with-outbox.js";

interface RelayCommandOptions extends CommonOptions {
  stream?: string;
  loop?: boolean;
  interval?: number;
  cron?: string;
}

interface Relaying extends RelayCommandOptions {
  outbox: Outbox;
  screen: Screen;
  interruption: AbortSignal;
}

export function addRelay(program: Command, screen: Screen): void {
  program
    .command("relay")
    .summary("run the calls that are due")
    .description(
      "Runs what is due now: calls that failed or whose process died, and keep-order calls. Without --loop and --cron, once.",
    )
    .option("--stream <name>", "only calls of this stream (default: every stream)")
    .addOption(new Option("--loop", "go on until SIGINT or SIGTERM").conflicts("cron"))
    .addOption(
      new Option("--interval <duration>", "with --loop: how often to look (default: the outbox's pollInterval)")
        .argParser(interval)
        .conflicts("cron"),
    )
    .addOption(
      new Option(
        "--cron <expression>",
        "relay at these moments until SIGINT or SIGTERM; passes never overlap",
      ).argParser(cronExpression),
    )
    .addHelpText(
      "after",
      `
Calls that fail are counted and tried again later: the exit code is 0 as long as
the relaying itself worked. At SIGINT or SIGTERM no more runs are started, those
in flight are finished, and the exit code is 0. A second signal ends them at once
(exit code 130 or 143); what was running runs again when its lease has ended.

Examples:
  $ carteiro relay --stream orders
  $ carteiro relay --loop --interval 100ms
  $ carteiro relay --cron "*/2 * * * *"`,
    )
    .action(async (_: unknown, command: Command) => {
      const options = command.optsWithGlobals<RelayCommandOptions>();
      if (options.interval !== undefined && !options.loop) throw new UsageError("--interval needs --loop");
      const interruption = listenForInterruption(screen);
      await withOutbox(options, async (outbox) => {
        const relaying = { ...options, outbox, screen, interruption };
        if (interruption.aborted) return;
        if (options.loop) await relayInLoop(relaying);
        else if (options.cron !== undefined) await relayOnSchedule(relaying, options.cron);
        else await relayOnce(relaying);
      });
    });
}

async function relayOnce({ outbox, screen, stream, interruption }: Relaying): Promise<void> {
  const progress = showProgress(outbox, screen);
  // Whether closing worked is told when the command ends.
  void interrupted(interruption).then(() => outbox.close().catch(() => undefined));
  const result = await outbox.relay({ stream }).finally(() => progress.stop());
  screen.print(summaryOf(result));
}

async function relayInLoop({ outbox, screen, stream, interval, interruption }: Relaying): Promise<void> {
  await probe(outbox);
  const progress = showProgress(outbox, screen);
  const relayer = outbox.startRelayer({ stream, interval, onError: tellOnce(screen) });
  screen.log(`relaying ${streamName(stream)} until SIGINT or SIGTERM`);
  await interrupted(interruption);
  await relayer.stop();
  await outbox.close();
  progress.stop();
  screen.log(`stopped: ${summaryOf(progress.tally)}`);
}

/** By a schedule beside the outbox's, to tell what each pass did or failed of, and for one stream alone. */
async function relayOnSchedule({ outbox, screen, stream, interruption }: Relaying, cron: string): Promise<void> {
  await probe(outbox);
  const progress = showProgress(outbox, screen);
  const relay = async () => screen.log(`passed: ${summaryOf(await outbox.relay({ stream }))}`);
  const tell: LogMethod = ({ err }, message) => screen.warn(`${message}: ${describeError(err)}`);
  const logger = { debug: tell, info: tell, warn: tell, error: tell };
  const schedule = startSchedule({ relay: cron }, { relay, clean: () => outbox.clean() }, logger);
  screen.log(`relaying ${streamName(stream)} at "${cron}" until SIGINT or SIGTERM`);
  await interrupted(interruption);
  const stopped = schedule.stop();
  await outbox.close();
  await stopped;
  progress.stop();
  screen.log(`stopped: ${summaryOf(progress.tally)}`);
}

const SAME_ERROR_MS = 10_000;

/** While a database is down each look fails alike: one line now and then says so. */
function tellOnce(screen: Screen): (error: unknown) => void {
  let told = "";
  let toldAt = 0;
  return (error) => {
    const line = describeError(error);
    if (line === told && performance.now() - toldAt < SAME_ERROR_MS) return;
    told = line;
    toldAt = performance.now();
    screen.warn(`the relayer tries again: ${line}`);
  };
}

/** A pass that runs nothing: a database that is down, or has no tables, is told at the start rather than in every pass. */
async function probe(outbox: Outbox): Promise<void> {
  await outbox.relay({ limit: 0 });
}

function streamName(stream: string | undefined): string {
  return stream === undefined ? "every stream" : `the stream ${stream}`;
}
