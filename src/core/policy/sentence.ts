/** Decisions as people read them: one sentence each, who, what, and why with figures. */
import { formatBytes, formatMs } from '../model/units.ts';
import type { Decision, Load, MoveDecision, Refusal, StayReason } from './decision.ts';
import { refusals } from './decision.ts';

export function sentenceOf(decision: Decision): string {
  if (decision.kind === 'move') return sentenceOfMove(decision);
  const { hostName, reason } = decision;
  return `Nothing is moved from ${hostName}: ${clauseOf(reason)}.`;
}

function sentenceOfMove(move: MoveDecision): string {
  const { vmName, fromName, toName, load, prediction, choices, goal } = move;
  const cause =
    goal === 'consolidate'
      ? `${fromName} uses only ${percent(load.share)} of its CPU and all of its VMs have a place elsewhere`
      : `${fromName} has been above ${percent(load.mark)} of its ${nameOf(load)} for ${formatMs(move.forMs)} and is at ${percent(load.share)}`;
  const choice =
    choices === 1
      ? 'it is the only VM that can go'
      : `of ${choices} VMs that can go it has the least predicted total time`;
  const cost = `${formatMs(prediction.totalMs)}, downtime ${formatMs(prediction.downtimeMs)}, ${formatBytes(prediction.wireBytes)}`;
  const [from, to] = [move.fromAfter, move.toAfter].map((shares) => percent(shares[load.resource]));
  return `${vmName} moves from ${fromName} to ${toName}, because ${cause}; ${choice} (${cost}), and leaves ${fromName} at ${from} and ${toName} at ${to}.`;
}

function clauseOf(reason: StayReason): string {
  switch (reason.why) {
    case 'silent':
      return 'nothing has been heard from it';
    case 'draining':
      return 'it is being drained, which has its own plan';
    case 'stale figures':
      return `its figures are ${formatMs(reason.ageMs)} old, and decisions need figures of the last ${formatMs(reason.ageMsMax)}`;
    case 'calm':
      return `it is at ${percent(reason.share)} of its ${nameOf(reason)}, and its mark is ${percent(reason.mark)}`;
    case 'not for long enough':
      return `${above(reason)}, but for ${formatMs(reason.forMs)} only, and it acts after ${formatMs(reason.sustainMs)}`;
    case 'moves under way':
      return `${above(reason)}, but ${reason.moves === 1 ? 'a move is' : `${reason.moves} moves are`} under way there`;
    case 'cooling down':
      return `${above(reason)}, but its last move is so recent that it waits another ${formatMs(reason.leftMs)}`;
    case 'no VM can go':
      return `${above(reason)}, but ${refusedText(reason.vms, reason.refused)}`;
  }
}

const refusalTexts: Readonly<Record<Refusal, string>> = {
  pinned: 'never to be moved',
  'under way': 'already being moved',
  'cooling down': 'moved a short time ago',
  'kept together': 'kept together with others there',
  'no relief': 'too small to relieve it',
  'no place': 'without a host that has room and stays below its mark',
  'no prediction': 'without a prediction of what their move would take',
  'over budget': 'beyond the budget of this hour',
  'too long': 'longer to move than the overload is expected to last',
};

function refusedText(vms: number, refused: Readonly<Record<Refusal, number>>): string {
  const parts = refusals.filter((each) => refused[each] > 0).map((each) => `${refused[each]} ${refusalTexts[each]}`);
  return parts.length === 0 ? 'it has no VM' : `none of its ${vms} VMs can go: ${parts.join(', ')}`;
}

function above(load: Load): string {
  return `it is at ${percent(load.share)} of its ${nameOf(load)}, above ${percent(load.mark)}`;
}

function nameOf({ resource }: Load): string {
  return resource === 'cpu' ? 'CPU' : 'memory';
}

/** One decimal: the difference between 64.9 % and the mark must be seen. */
export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
