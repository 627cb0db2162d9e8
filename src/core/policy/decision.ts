/** What the policy answers for each host, with the figures that its reason is made of (sentence.ts). */
import type { Goal } from './config.ts';
import type { Resource, Shares } from './marks.ts';

/** Of moving a VM to a host. A total time that is infinite or no number: it cannot be said, and so it is not done. */
export type Prediction = { readonly totalMs: number; readonly downtimeMs: number; readonly wireBytes: number };
/** By their indices in the fleet. Pure: the same answer in one round. */
export type Predict = (vm: number, from: number, to: number) => Prediction;

/** Why a VM stays where it is, in the order in which it is asked. */
export const refusals = [
  'pinned',
  'under way',
  'cooling down',
  'kept together',
  'no relief',
  'no place',
  'no prediction',
  'over budget',
  'too long',
] as const;
export type Refusal = (typeof refusals)[number];

/** The host's load in the resource that is pressed. */
export type Load = { readonly resource: Resource; readonly share: number; readonly mark: number };

export type StayReason =
  | { readonly why: 'silent' | 'draining' }
  | { readonly why: 'stale figures'; readonly ageMs: number; readonly ageMsMax: number }
  | ({ readonly why: 'calm' } & Load)
  | ({ readonly why: 'not for long enough'; readonly forMs: number; readonly sustainMs: number } & Load)
  | ({ readonly why: 'moves under way'; readonly moves: number } & Load)
  | ({ readonly why: 'cooling down'; readonly leftMs: number } & Load)
  | ({
      readonly why: 'no VM can go';
      readonly vms: number;
      readonly refused: Readonly<Record<Refusal, number>>;
    } & Load);

export type MoveDecision = {
  readonly kind: 'move';
  readonly goal: Goal;
  readonly vm: number;
  readonly from: number;
  readonly to: number;
  readonly vmName: string;
  readonly fromName: string;
  readonly toName: string;
  readonly load: Load;
  /** How long the host has been above its mark. */
  readonly forMs: number;
  /** VMs of the host that could be moved; this one is the cheapest of them. */
  readonly choices: number;
  readonly prediction: Prediction;
  readonly fromAfter: Shares;
  readonly toAfter: Shares;
};

export type StayDecision = {
  readonly kind: 'stay';
  readonly host: number;
  readonly hostName: string;
  readonly reason: StayReason;
};

export type Decision = MoveDecision | StayDecision;
