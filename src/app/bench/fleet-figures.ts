/** What a simulated day of a fleet came to, and as texts: the cells of a table, for a terminal or a report. Pure. */
import type { SimResult, SimSeries } from '../../core/fleet/simulate.ts';
import { formatBytes, formatMs } from '../../core/model/units.ts';

export type FleetRun = {
  readonly figures: SimResult & { readonly wallMs: number; readonly peakRssBytes: number };
  readonly series: SimSeries;
};

export const figureTitles = [
  'policy',
  'host-hours above',
  'moves',
  'bytes',
  'downtime of all VMs',
  'ping-pong',
  'wall time',
  'memory',
] as const;

/** In the order of `figureTitles`. */
export function figureTexts({ figures }: FleetRun): string[] {
  return [
    figures.policy,
    (figures.timeAboveThreshold / 3600).toFixed(1),
    String(figures.moves),
    formatBytes(figures.bytes),
    formatMs(figures.downtimeMs),
    String(figures.pingPong),
    formatMs(figures.wallMs),
    formatBytes(figures.peakRssBytes),
  ];
}
