/** A line for people about each VM of a host that is drained. */
import { formatMs } from '../model/units.ts';
import type { DrainLine, DrainRefusal } from './drain.ts';
import type { Fleet } from './fleet.ts';

const texts: Readonly<Record<DrainRefusal, string>> = {
  pinned: 'it is never to be moved',
  'kept with a pinned VM': 'it must be on one host with a VM that is never to be moved',
  'no place': 'no host that it may go to has room for it and stays below the threshold',
  'no end': 'no move of it is predicted to end',
  'stale figures': "the host's figures are too old to decide on",
  silent: 'nothing has been heard from the host',
};

export function sentenceOfLine(fleet: Fleet, line: DrainLine): string {
  const vm = fleet.vmNames[line.vm]!;
  if (line.kind === 'stays') return `${vm} stays, because ${texts[line.why]}.`;
  const to = fleet.hostNames[line.to]!;
  if (line.kind === 'is leaving') return `${vm} is already on its way to ${to}.`;
  return `${vm} goes to ${to}, from ${formatMs(line.startMs)} to ${formatMs(line.endMs)} after the start.`;
}
