/** The simulated fleet's figures as one HTML file that needs nothing else; the charts are drawn by chart.ts. Pure. */
import type { SimSeries } from '../../core/fleet/simulate.ts';
import { barChart, lineChart } from './chart.ts';
import { figureTexts, figureTitles } from './fleet-figures.ts';
import type { FleetRun } from './fleet-figures.ts';

export type FleetReport = {
  readonly hosts: number;
  readonly vms: number;
  readonly seed: number;
  readonly hours: number;
  readonly runs: readonly FleetRun[];
};

const colors = ['#8a8f98', '#d18f2c', '#b8402a', '#3b6fb5', '#0b7a5c'] as const;

const style = `
body { margin: 0; background: #f4f5f5; color: #222; font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 6px; } code { background: #e9ecec; padding: 1px 5px; border-radius: 3px; }
table { border-collapse: collapse; width: 100%; background: #fff; border: 1px solid #ddd; margin: 18px 0; }
th, td { padding: 6px 10px; text-align: right; border-bottom: 1px solid #eee; } th:first-child, td:first-child { text-align: left; }
figure { margin: 14px 0; background: #fff; border: 1px solid #ddd; border-radius: 6px; padding: 14px; overflow-x: auto; }
figure svg { display: block; max-width: 100%; height: auto; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(480px, 1fr)); gap: 0 14px; }
`;

export function renderFleetReport(report: FleetReport): string {
  const { hosts, vms, seed, hours, runs } = report;
  const policy = runs.length === 1 ? runs[0]!.figures.policy : 'all';
  const command = `npm run sim:fleet -- --hosts ${hosts} --vms ${vms} --policy ${policy} --seed ${seed} --hours ${hours}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>vmferry: policies on a simulated fleet</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>Policies on a simulated fleet</h1>
<p>${hosts} hosts, ${vms} VMs, ${hours} hours. To repeat it: <code>${command}</code></p>
${table(runs)}
<div class="pair">${hourCharts(runs).join('\n')}</div>
${totalCharts(runs).join('\n')}
<p>What the policies are, and what the simulation leaves out: docs/autopilot.md.</p>
</main>
</body>
</html>
`;
}

function table(runs: readonly FleetRun[]): string {
  const row = (cells: readonly string[], tag: 'th' | 'td'): string =>
    `<tr>${cells.map((cell) => `<${tag}>${cell}</${tag}>`).join('')}</tr>`;
  return `<table><thead>${row(figureTitles, 'th')}</thead><tbody>\n${runs.map((run) => row(figureTexts(run), 'td')).join('\n')}\n</tbody></table>`;
}

function hourCharts(runs: readonly FleetRun[]): string[] {
  const seriesOf = (read: (series: SimSeries) => readonly number[]) =>
    runs.map(({ figures, series }, index) => ({
      name: figures.policy,
      color: colors[index % colors.length]!,
      points: read(series).map((value, hour) => [hour, value] as const),
    }));
  const common = { xName: 'hour of the day' };
  return [
    lineChart({
      ...{ ...common, title: 'Hosts above the threshold', note: 'mean of each hour; less is better', unit: 'hosts' },
      series: seriesOf(({ hostsAbove }) => hostsAbove),
    }),
    lineChart({
      ...{ ...common, title: 'Moves', note: 'begun in each hour', unit: 'moves' },
      series: seriesOf(({ moves }) => moves),
    }),
  ].map((chart) => `<figure>${chart}</figure>`);
}

function totalCharts(runs: readonly FleetRun[]): string[] {
  const one = (title: string, unit: string, read: (figures: FleetRun['figures']) => number): string => {
    const values = runs.map(({ figures }) => read(figures));
    const series = [{ name: title, color: colors[4], values }];
    const categories = runs.map(({ figures }) => figures.policy);
    return `<figure>${barChart({ title, note: 'less is better', unit, categories, series })}</figure>`;
  };
  return [
    one('Time above the threshold', 'host-hours', ({ timeAboveThreshold }) => timeAboveThreshold / 3600),
    one('Bytes on the wire', 'TB', ({ bytes }) => bytes / 1e12),
    one('Ping-pong moves', 'moves', ({ pingPong }) => pingPong),
  ];
}
