import { Screen } from "../../src/cli/screen.js";

/** A screen, and all that was printed on it. */
export function fakeScreen({ columns = undefined as number | undefined, hasColors = false } = {}) {
  const printed = { stdout: "", stderr: "" };
  const output = (name: "stdout" | "stderr") =>
    ({
      isTTY: columns !== undefined,
      columns,
      hasColors: () => hasColors,
      on() {},
      write: (text: string) => (printed[name] += text) !== "",
    }) as unknown as NodeJS.WriteStream;
  return { printed, screen: new Screen({ stdout: output("stdout"), stderr: output("stderr"), env: {} }) };
}
