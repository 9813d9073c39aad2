import { readdirSync } from "node:fs";
import { join } from "node:path";

/** The one of the two that threads may use. */
const LIBRARY = "libfaketimeMT.so.1";
const FOLDERS = ["/usr/lib/faketime", "/usr/lib64/faketime", "/usr/local/lib/faketime"];

export const faketimeMissing =
  "libfaketime is missing: install it (Debian: apt-get install libfaketime); it shifts the clock of a process, on Linux.";

/** The library that shifts the clock of a process, where it is installed. */
export function findFaketime(): string | undefined {
  if (process.platform !== "linux") return undefined;
  // Debian keeps it by architecture: /usr/lib/x86_64-linux-gnu/faketime.
  const byArchitecture = namesIn("/usr/lib").map((name) => join("/usr/lib", name, "faketime"));
  const folder = [...FOLDERS, ...byArchitecture].find((one) => namesIn(one).includes(LIBRARY));
  return folder === undefined ? undefined : join(folder, LIBRARY);
}

/** The environment of a process whose clock is off by so much, such as `+1h`; what timers go by stays as it is. */
export function shiftedClock(by: string): NodeJS.ProcessEnv {
  const library = findFaketime();
  if (library === undefined) throw new Error(faketimeMissing);
  return { LD_PRELOAD: library, FAKETIME: by, FAKETIME_DONT_FAKE_MONOTONIC: "1" };
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
