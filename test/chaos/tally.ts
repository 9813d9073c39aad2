import type { ChaosResult } from "./chaos.js";

const MOST_SHOWN = 20;

/** What a chaos run did and what came of it, for people. */
export function tally(result: ChaosResult): string {
  const { engine, version, seed, seconds, findings, mischief, faults, folder } = result;
  const { lost, phantoms, inversions, overlaps } = findings;
  const rows: [string, string][] = [
    ["committed", `${result.calls} calls of ${result.orders} orders`],
    ["not committed", `${result.rolledBack} rolled back, ${result.unknown} ended in an error (some of them committed)`],
    ["kills", `${mischief.kill} processes; ${mischief.freeze} frozen past their lease`],
    [
      "restarts",
      `${mischief["restart fast"]} fast, ${mischief["restart immediate"]} immediate; ${mischief.outage} outages`,
    ],
    [
      "connections",
      `killed ${times(mischief["kill connections"])}, reset ${times(mischief.reset)}, stalled ${times(mischief.stall)}, half open ${times(mischief["half open"])}`,
    ],
    [
      "at COMMIT",
      `${mischief["kill at COMMIT"]} killed, ${mischief["cut before COMMIT"]} cut before it, ${mischief["cut after COMMIT"]} cut before its answer`,
    ],
    ["runs", `${findings.runs}, of which ${findings.failed} did not succeed; leases lost ${result.leasesLost}`],
    ["repeats", String(findings.repeats)],
    [
      "overtaken",
      `${findings.toldOverlaps} runs by a new lease's, ${findings.stale} begun after one; told by the fence; ${findings.unexcused} of them not frozen`,
    ],
    ["drained in", `${(result.drainMs / 1000).toFixed(1)} s`],
    ["lost", String(lost.length)],
    ["phantom", String(phantoms.length)],
    ["inversions", String(inversions.length)],
    ["overlaps", String(overlaps.length)],
    ...(faults.length > 0 ? ([["faults", String(faults.length)]] as [string, string][]) : []),
  ];
  const lines = rows.map(([name, value]) => `  ${name.padEnd(14)}${value}`);
  const wrong = Object.entries({ lost, phantoms, inversions, overlaps, faults }).flatMap(([name, all]) =>
    all.slice(0, MOST_SHOWN).map((one) => `  ${name}: ${one}`),
  );
  return [
    `${engine} ${version}, seed ${seed}, ${seconds} s: ${result.isClean ? "held" : "BROKEN"}`,
    ...lines,
    ...wrong,
    ...(folder === undefined ? [] : [`  journals and logs: ${folder}`]),
  ].join("\n");
}

function times(count: number): string {
  return count === 1 ? "once" : `${count} times`;
}
