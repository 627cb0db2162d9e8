/** The live view of a migration as lines of text. Pure: same view, same width, same lines. */
import type { MigrationView } from '../../core/model/migration.ts';
import { formatBytes, formatMs, formatRate, PAGE_BYTES } from '../../core/model/units.ts';
import { percentOf, stageText } from './migration-words.ts';

const BAR_CHARS_MAX = 40;
const BAR_CHARS_MIN = 10;

/**
 * Three lines, none wider than `width`:
 *
 *     VM "web" to host-b: pre-copy, round 1
 *     [################........................]  40 %   1.20 s, 1.80 s to go
 *     sending 880 Mbit/s, dirtied 19.5 MiB/s, left 391 MiB, sent 76.3 MiB
 */
export function renderProgress(view: MigrationView, width: number): string[] {
  const times = `${formatMs(view.elapsedMs)}${toGo(view)}`;
  const percent = `${String(percentOf(view)).padStart(3)} %`;
  const room = width - percent.length - times.length - 7;
  const lines = [
    `VM "${view.vm}" to ${view.destination}: ${stageText(view)}`,
    `${bar(percentOf(view), Math.min(BAR_CHARS_MAX, Math.max(BAR_CHARS_MIN, room)))} ${percent}   ${times}`,
    flowText(view),
  ];
  return lines.map((line) => (line.length > width ? line.slice(0, Math.max(0, width)) : line));
}

/** The same in one line, for logs and pipes. */
export function renderPlain(view: MigrationView): string {
  const isOver = view.stage === 'ended' && view.outcome !== 'completed';
  const percent = (isOver ? '' : `${percentOf(view)} %`).padStart(5);
  return `${formatMs(view.elapsedMs).padStart(8)} ${percent}  ${stageText(view)}: ${flowText(view)}${toGo(view)}`;
}

function flowText(view: MigrationView): string {
  const dirtied = `${formatBytes(view.dirtyPagesPerSecond * PAGE_BYTES)}/s`;
  const sent = `sent ${formatBytes(view.wireBytes)}`;
  if (view.stage === 'ended') return sent;
  if (view.wireBytes === 0) return view.pagesUndecided > 0 ? 'asking the guest what it needs' : 'nothing sent yet';
  const left = formatBytes((view.pagesPending + view.pagesUndecided) * PAGE_BYTES);
  return `sending ${formatRate(view.wireBytesPerSecond)}, dirtied ${dirtied}, left ${left}, ${sent}`;
}

function toGo(view: MigrationView): string {
  return view.stage === 'ended' || view.timeToGoMs === null ? '' : `, ${formatMs(view.timeToGoMs)} to go`;
}

function bar(percent: number, chars: number): string {
  const full = Math.floor((percent * chars) / 100);
  return `[${'#'.repeat(full)}${'.'.repeat(chars - full)}]`;
}
