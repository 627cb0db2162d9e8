/** What the policy cannot say by itself: that a host does not obey, or does not answer; and which decisions are the same. */
import type { Decision } from '../../core/policy/decision.ts';
import { refusals } from '../../core/policy/decision.ts';
import { percent, sentenceOf } from '../../core/policy/sentence.ts';
import { withoutStop } from './problem-text.ts';

export type HostFacts = { readonly own: string; readonly obeys: boolean; readonly problem: string | null };

export function sentenceFor(decision: Decision, { own, obeys, problem }: HostFacts): string {
  const plain = sentenceOf(decision);
  if (decision.kind === 'move') return plain;
  const { reason, hostName } = decision;
  if (reason.why === 'no VM can go' && !obeys) {
    const [share, mark] = [reason.share, reason.mark].map(percent);
    return (
      `Nothing is moved from ${hostName}: it is at ${share} of its ${reason.resource === 'cpu' ? 'CPU' : 'memory'}, above ` +
      `${mark}, but it does not obey the autopilot of ${own} (see "autopilot.obey" in its configuration).`
    );
  }
  const isAway = reason.why === 'silent' || reason.why === 'stale figures';
  return isAway && problem !== null ? `${withoutStop(plain)} (${withoutStop(problem)}).` : plain;
}

/** Equal for decisions that say the same, whatever the figures of the moment. */
export function keyOfDecision(decision: Decision): string {
  if (decision.kind === 'move') return `move ${decision.vmName} ${decision.toName}`;
  const { reason } = decision;
  if (reason.why !== 'no VM can go') return reason.why;
  return `${reason.why} ${refusals.map((each) => reason.refused[each]).join(' ')}`;
}
