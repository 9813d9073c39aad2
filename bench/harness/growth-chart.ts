import type { Echarts } from "./chart.js";
import type { EngineResult } from "./measure.js";
import { loadPeer } from "./peers.js";
import { figure } from "./table.js";
import type { Scenario } from "./types.js";

const WIDTH = 860;
const LEFT = 70;
const HEAD = 64;
const PANEL = 220;
const LEGEND = 30;
const FOOT = 60;

const ink = "#1f2933";
const colours = ["#0b6e4f", "#c27803", "#2563a8", "#a61b4b", "#6b4fa0", "#4d7c0f", "#8795a1", "#0e7490"];

/** Lines of the medians over the sizes, which grow by powers: a level line is what does not grow. One panel for each engine and metric. */
export async function drawGrowth(scenario: Scenario, engines: readonly EngineResult[]): Promise<string> {
  const { init } = (await loadPeer("echarts")) as Echarts;
  const metrics = scenario.metrics ?? ["rate"];
  const panels = metrics.flatMap((metric) =>
    engines.map((engine) => ({
      title: metrics.length === 1 ? engine.server : `${engine.server}, ${metric}`,
      lines: linesOf(engine, metric),
      max: Math.max(
        ...engines.flatMap((one) => linesOf(one, metric).flatMap(({ points }) => points.map(([, y]) => y))),
      ),
    })),
  );
  const names = [...new Set(panels.flatMap(({ lines }) => lines.map(({ series }) => series)))];
  const legendHeight = LEGEND * Math.ceil(names.length / 2);
  const top = (n: number) => HEAD + legendHeight + 34 + n * (PANEL + FOOT);
  const height = top(panels.length);
  const chart = init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height });
  chart.setOption({
    animation: false,
    backgroundColor: "#ffffff",
    color: colours,
    textStyle: { color: ink, fontFamily: "system-ui, sans-serif" },
    title: [
      {
        text: scenario.title,
        subtext: `${scenario.unit}; medians`,
        left: 16,
        top: 10,
        textStyle: { color: ink, fontSize: 15, width: WIDTH - 32, overflow: "truncate" },
        subtextStyle: { color: "#52606d" },
      },
      ...panels.map(({ title }, n) => ({
        text: title,
        left: LEFT,
        top: top(n) - 28,
        textStyle: { color: ink, fontSize: 12 },
      })),
    ],
    legend: { data: names, left: LEFT, top: HEAD, width: WIDTH - 2 * LEFT, textStyle: { color: ink, fontSize: 12 } },
    grid: panels.map((_, n) => ({ left: LEFT, right: 60, top: top(n), height: PANEL - 30 })),
    xAxis: panels.map((_, n) => ({
      gridIndex: n,
      type: "log",
      name: scenario.growth,
      nameLocation: "middle",
      nameGap: 26,
      nameTextStyle: { color: ink },
      axisLabel: { color: ink, formatter: (value: number) => value.toLocaleString("en") },
      splitLine: { show: false },
    })),
    // One scale for both engines.
    yAxis: panels.map(({ max }, n) => ({
      gridIndex: n,
      type: "value",
      min: 0,
      max: roundUp(max),
      axisLabel: { color: ink },
    })),
    series: panels.flatMap(({ lines }, n) =>
      lines.map(({ series, points }) => ({
        name: series,
        type: "line",
        xAxisIndex: n,
        yAxisIndex: n,
        data: points,
        symbolSize: 7,
        itemStyle: { color: colours[names.indexOf(series) % colours.length] },
        label: {
          show: true,
          position: "top",
          color: ink,
          formatter: ({ value }: { value: [number, number] }) => figure(value[1]),
        },
      })),
    ),
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

interface Line {
  series: string;
  points: [size: number, median: number][];
}

function linesOf({ contenders }: EngineResult, metric: string): Line[] {
  const lines = new Map<string, Line>();
  for (const { at, metrics } of contenders) {
    if (!at) continue;
    const line = lines.get(at.series) ?? { series: at.series, points: [] };
    line.points.push([at.size, metrics[metric]!.median]);
    lines.set(at.series, line);
  }
  for (const { points } of lines.values()) points.sort(([one], [other]) => one - other);
  return [...lines.values()];
}

/** To two digits, with room for the label above. */
function roundUp(max: number): number {
  const step = 10 ** Math.floor(Math.log10(max * 1.15)) / 2;
  return Math.ceil((max * 1.15) / step) * step;
}
