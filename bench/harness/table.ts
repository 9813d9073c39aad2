import type { EngineResult, Ratio } from "./measure.js";
import type { Spread } from "./statistics.js";
import type { Scenario } from "./types.js";

/** One scenario on one engine, as Markdown. */
export function table(scenario: Scenario, { server, calls, contenders, ratios }: EngineResult): string {
  const metrics = scenario.metrics ?? ["rate"];
  const rounds = contenders[0]?.rounds.length ?? 0;
  const size = calls === undefined ? "" : `; ${calls.toLocaleString("en")} calls a round`;
  const isOnly = metrics.length === 1;
  const figures = contenders.map(({ name, calls: fewer, metrics: of }) => [
    `${name}${fewer === undefined ? "" : ` (${fewer.toLocaleString("en")} calls)`}`,
    ...metrics.map((metric) => spread(of[metric]!, figure)),
  ]);
  const heads = ["contender", ...metrics.map((metric) => (isOnly ? scenario.unit : `${metric}, ${scenario.unit}`))];
  const judged = ratios.map((ratio) => [
    `${ratio.contender}${ratio.against === undefined ? "" : ` / ${ratio.against}`}${isOnly ? "" : `, ${ratio.metric}`}`,
    spread(ratio, (value) => (ratio.against === undefined ? figure(value) : value.toFixed(2))),
    target(ratio),
  ]);
  return [
    `## ${scenario.title}`,
    `${server}${size}; the median of ${rounds} rounds (least–most)`,
    markdown([heads, ...figures]),
    ...(judged.length > 0 ? [markdown([["ratio", "median (least–most)", "target"], ...judged])] : []),
    ...(scenario.notes ?? []),
  ].join("\n\n");
}

function target({ atLeast, atMost, isMet }: Ratio): string {
  if (isMet === undefined) return "";
  return `${atLeast !== undefined ? `≥ ${rounded(atLeast)}` : `≤ ${rounded(atMost!)}`} ${isMet ? "✓" : "✗"}`;
}

/** 1 / 0.6 among them. */
function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

function spread({ median, min, max }: Spread, text: (value: number) => string): string {
  return `${text(median)} (${text(min)}–${text(max)})`;
}

export function figure(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString("en") : value.toPrecision(3);
}

function markdown(rows: readonly string[][]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: string[]) => `| ${row.map((text, column) => text.padEnd(widths[column]!)).join(" | ")} |`;
  const [heads, ...others] = rows.map(line) as [string, ...string[]];
  return [heads, `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...others].join("\n");
}
