import type { messages } from "@electric-sql/pglite";
import { describe, expect, it } from "vitest";
import { readResults } from "../../src/pglite/results.js";

function batchOf(...names: messages.MessageName[]): messages.BackendMessage[] {
  return names.map((name) => ({ name, length: 5 }));
}

describe("an answer of PGlite", () => {
  it.each<[what: string, batch: messages.BackendMessage[]]>([
    ["nothing at all", batchOf("readyForQuery")],
    ["a statement that was parsed, then lost", batchOf("parseComplete", "readyForQuery")],
    ["a statement whose parameters were lost", batchOf("parseComplete", "noData", "emptyQuery", "readyForQuery")],
    ["rows without an end", batchOf("parseComplete", "bindComplete", "noData", "readyForQuery")],
  ])("is refused where it holds %s", (_what, batch) => {
    expect(() => readResults(batch, {})).toThrow("PGlite dropped the statement");
  });

  it("may be that there was nothing to run", () => {
    expect(readResults(batchOf("emptyQuery", "readyForQuery"), {})).toMatchObject({ command: null, rows: [] });
  });
});
