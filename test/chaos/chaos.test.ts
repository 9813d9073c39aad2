import { describe, expect, inject, it } from "vitest";
import { type EngineName, keepFindings, runChaos } from "./chaos.js";
import { tally } from "./tally.js";

const SECONDS = 15;
const SERVERS: readonly [EngineName, "postgres" | "mysql"][] = [
  ["postgresql", "postgres"],
  ["mariadb", "mysql"],
];

describe.concurrent(
  "under chaos nothing is lost, nothing comes up that was not committed, and keep-order holds",
  () => {
    for (const [engine, offer] of SERVERS) {
      const isMissing = "missing" in inject(offer);
      it.skipIf(isMissing)(engine, { timeout: 300_000 }, async () => {
        const result = await runChaos({ engine, seconds: SECONDS, seed: Date.now() % 1_000_000 });
        keepFindings(result);
        const { findings, faults } = result;
        const { lost, phantoms, inversions, overlaps } = findings;
        const wrong = { lost, phantoms, inversions, overlaps, faults };
        const right = { lost: [], phantoms: [], inversions: [], overlaps: [], faults: [] };
        expect(wrong, tally(result)).toEqual(right);
        // There was something to lose, and something that could lose it.
        expect(result.calls, tally(result)).toBeGreaterThan(20);
        expect(result.mischief.kill, tally(result)).toBeGreaterThan(0);
        expect(findings.runs).toBeGreaterThanOrEqual(result.calls);
      });
    }
  },
);
