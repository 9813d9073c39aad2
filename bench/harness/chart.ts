import { figure } from "./table.js";
import { loadPeer } from "./peers.js";
import type { EngineResult } from "./measure.js";
import type { Spread } from "./statistics.js";
import type { Scenario } from "./types.js";

/** What the bench needs of echarts. */
export interface Echarts {
  init(
    element: null,
    theme: null,
    options: { renderer: "svg"; ssr: true; width: number; height: number },
  ): { setOption(option: unknown): void; renderToSVGString(): string; dispose(): void };
}

const WIDTH = 860;
const LEFT = 270;
const BAR = 26;
const HEAD = 64;
const GAP = 46;

const ink = "#1f2933";
const colours = { ours: "#0b6e4f", peer: "#8795a1", limit: "#c27803" };

interface Row extends Spread {
  label: string;
  colour: string;
}

/** Bars of the medians, with a line from the least to the most; on white, so that it can be read on any page. */
export async function drawChart(scenario: Scenario, engines: readonly EngineResult[]): Promise<string> {
  const { init } = (await loadPeer("echarts")) as Echarts;
  const panels = engines.map((engine) => rowsOf(scenario, engine));
  const heights = panels.map((rows) => rows.length * (BAR + 8));
  const tops = heights.map((_, n) => HEAD + 22 + heights.slice(0, n).reduce((sum, height) => sum + height + GAP, 0));
  const height = tops.at(-1)! + heights.at(-1)! + 24;
  const chart = init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height });
  // One scale for all: figures of two engines beside each other are compared, whatever the chart says.
  const max = Math.max(...panels.flat().map((row) => row.max));
  chart.setOption({
    animation: false,
    backgroundColor: "#ffffff",
    textStyle: { color: ink, fontFamily: "system-ui, sans-serif" },
    title: [
      {
        text: scenario.title,
        subtext: `${scenario.unit}; medians, lines from the least to the most`,
        left: 16,
        top: 10,
        textStyle: { color: ink, fontSize: 15, width: WIDTH - 32, overflow: "truncate" },
        subtextStyle: { color: "#52606d" },
      },
      ...engines.map(({ server, calls }, n) => ({
        text: calls === undefined ? server : `${server}, ${calls.toLocaleString("en")} calls a round`,
        left: LEFT,
        top: tops[n]! - 24,
        textStyle: { color: ink, fontSize: 12 },
      })),
    ],
    grid: engines.map((_, n) => ({ left: LEFT, right: 90, top: tops[n], height: heights[n] })),
    xAxis: engines.map((_, n) => ({ gridIndex: n, type: "value", show: false, min: 0, max })),
    yAxis: panels.map((rows, n) => ({
      gridIndex: n,
      type: "category",
      inverse: true,
      data: rows.map(({ label }) => label),
      axisTick: { show: false },
      axisLine: { lineStyle: { color: "#9aa5b1" } },
      axisLabel: { color: ink, fontSize: 12 },
    })),
    series: panels.map(bars),
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

/** Contenders beside each other, metric by metric. */
function rowsOf({ metrics = ["rate"] }: Scenario, { contenders }: EngineResult): Row[] {
  return metrics.flatMap((metric) =>
    contenders.map(({ name, role, metrics: of }) => ({
      ...of[metric]!,
      label: metrics.length === 1 ? name : `${name}, ${metric}`,
      colour: colours[role],
    })),
  );
}

/** One bar a row, with its spread, and with its median behind that. */
function bars(rows: readonly Row[], n: number): unknown {
  return {
    type: "bar",
    xAxisIndex: n,
    yAxisIndex: n,
    barWidth: BAR - 8,
    data: rows.map(({ median, colour }) => ({ value: median, itemStyle: { color: colour } })),
    markLine: {
      symbol: ["none", "none"],
      silent: true,
      lineStyle: { color: ink, width: 1.5, type: "solid" },
      data: rows.map(({ median, min, max }, row) => [
        {
          coord: [min, row],
          label: { show: true, position: "end", distance: 8, color: ink, formatter: figure(median) },
        },
        { coord: [max, row] },
      ]),
    },
  };
}
