import { spawn } from "node:child_process";
import type { Account } from "./account.js";

/** Runs a program to its end; throws with all that it printed when it fails. */
export function runProgram(
  binary: string,
  args: string[],
  options: { account?: Account | undefined; input?: string; cwd?: string } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(binary, args, {
      cwd: options.cwd,
      env: { ...process.env, LC_ALL: "C" },
      ...options.account,
      stdio: ["pipe", "pipe", "pipe"],
    });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.once("error", reject);
    child.once("close", (code, signal) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${binary} failed (${signal ?? `exit code ${code}`}):\n${output}`));
    });
    // A program that fails at once closes its input; its exit code tells more than the EPIPE.
    child.stdin.on("error", () => {});
    child.stdin.end(options.input);
  });
}
