/** `vmferry plan VM HOST`: what moving a VM would take, by each strategy, before anything is moved. */
import type { MovePlan } from '../../../core/model/plan.ts';
import type { Prediction, Range } from '../../../core/model/prediction.ts';
import { formatBytes, formatMs, formatRate } from '../../../core/model/units.ts';
import { printResult, withAgent } from '../console.ts';
import type { Console } from '../console.ts';
import { exitCodes } from '../exit-codes.ts';
import type { ExitCode } from '../exit-codes.ts';
import { limitWords } from '../prediction-text.ts';
import { formatTable } from '../table.ts';
import { requestOptions } from './migrate.ts';
import type { MigrateOptions } from './migrate.ts';

export type PlanOptions = MigrateOptions & { readonly measure?: number };

/** Measuring, asking both hosts and computing, beyond the time that was asked for. */
const PLAN_EXTRA_MS = 60_000;
const MEASURE_MS = 3_000;

export async function plan(vm: string, destination: string, options: PlanOptions, console: Console): Promise<ExitCode> {
  const { measure = MEASURE_MS, strategy } = options;
  const found = await withAgent(
    console,
    options,
    async (client) =>
      await client.call(
        'plan',
        {
          body: {
            ...{ vm, destination, measureMs: measure, options: requestOptions(options) },
            ...(strategy !== undefined && { strategies: [strategy] }),
          },
        },
        { timeoutMs: measure + PLAN_EXTRA_MS },
      ),
  );
  printResult(console, options, found, () => planLines(found));
  return found.problems.length === 0 ? exitCodes.completed : exitCodes.refused;
}

export function planLines(found: MovePlan): string[] {
  const { problems, why, notes, recommended, predictions } = found;
  const table = formatTable(
    ['', 'STRATEGY', 'TOTAL TIME', 'DOWNTIME', 'ON THE WIRE', 'LIMITED BY'],
    predictions.map((each) => predictionRow(each, each.strategy === recommended)),
    'llrrrl',
  );
  return [
    ...guestLines(found),
    '',
    ...table,
    '',
    `Recommended: ${why}`,
    ...learnedLine(predictions),
    ...notes.map((note) => `Note: ${note}`),
    ...(problems.length === 0 ? [] : ['', `It cannot be moved (${problems.length}):`]),
    ...problems.map(({ message }) => `  - ${message}`),
  ];
}

function learnedLine(predictions: readonly Prediction[]): string[] {
  const moves = predictions[0]?.correction?.moves ?? 0;
  return moves === 0 ? [] : [`Corrected by what ${moves} earlier ${moves === 1 ? 'move' : 'moves'} to that host took.`];
}

function predictionRow({ strategy, totalMs, downtimeMs, wireBytes, limitedBy }: Prediction, isBest: boolean): string[] {
  const range = ({ low, expected, high }: Range, format: (value: number) => string): string =>
    `${format(expected)} (${format(low)} to ${format(high)})`;
  return [
    isBest ? '>' : '',
    strategy,
    range(totalMs, formatMs),
    range(downtimeMs, formatMs),
    range(wireBytes, formatBytes),
    limitWords[limitedBy],
  ];
}

function guestLines({ vm, destination, guest, link, idle, measuredMs }: MovePlan): string[] {
  const { memoryBytes, zeroBytes, leftOutBytes, contentBytes, packedShare } = guest;
  const writes =
    guest.writtenBytesPerS === 0
      ? 'nothing was written to'
      : `about ${formatRate(guest.writtenBytesPerS)}, to ${formatBytes(guest.writtenToBytes)} of it`;
  const way = link.bytesPerS === null ? 'not known' : formatRate(link.bytesPerS);
  const percent = (share: number): string => `${Math.round(share * 100)} %`;
  const there = idle.destination === null ? '' : `, ${percent(idle.destination)} there`;
  const roundTrip = link.roundTripMs === null ? '' : `, round trip ${formatMs(link.roundTripMs)}`;
  return [
    `VM "${vm}" to host "${destination}", looked at for ${formatMs(measuredMs)}:`,
    ...formatTable(
      ['', ''],
      [
        [
          'memory',
          `${formatBytes(memoryBytes)}: ${formatBytes(zeroBytes)} zero, ${formatBytes(leftOutBytes)} not needed`,
        ],
        ['to send', `${formatBytes(contentBytes)}, packed to ${Math.round(packedShare * 100)} %`],
        ['writes', writes],
        ['link', `${way}${roundTrip}`],
        ['idle', `${percent(idle.source)} of the processors here${there}`],
      ].map(([what = '', text = '']) => [`  ${what}`, text]),
      'll',
    ).slice(1),
  ];
}
