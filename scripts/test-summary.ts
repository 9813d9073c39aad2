import { existsSync, readFileSync } from "node:fs";

// Prints one plain line for whoever reads the log of a run, `123 passed, 0 failed`, from the report of vitest's json
// reporter. Usage: test-summary.ts REPORT EXIT_CODE, where the exit code is vitest's.

interface Report {
  numPassedTests: number;
  numFailedTests: number;
}

const [file = "", exitCode] = process.argv.slice(2);
const report: Report = existsSync(file)
  ? (JSON.parse(readFileSync(file, "utf8")) as Report)
  : { numPassedTests: 0, numFailedTests: 0 };
// A file that could not be loaded and an unhandled rejection are no failed tests, and yet the run failed.
const failed = Math.max(report.numFailedTests, exitCode === "0" ? 0 : 1);
console.log(`${report.numPassedTests} passed, ${failed} failed`);
