import { runProgram } from "./program.js";
import { Screen } from "./screen.js";

void main();

/**
 * Leaves by an explicit exit, with everything printed: the configuration's knex is not ours to destroy, and would keep
 * the process alive.
 */
async function main(): Promise<void> {
  const screen = new Screen(process);
  const exitCode = await runProgram(process.argv.slice(2), screen);
  await screen.flush();
  process.exit(exitCode);
}
