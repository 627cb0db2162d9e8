/** A migration that was not made: what it would meet, and how each strategy would do. */
import type { MoveFacts, PastMove, Prediction } from './prediction.ts';
import type { StrategyName } from './migration.ts';
import type { Problem } from './vm.ts';

export type PlanWish = {
  /** For how long the guest is looked at. */
  readonly measureMs: number;
  /** Null: all that the options allow. */
  readonly strategies: readonly StrategyName[] | null;
  /** Earlier moves from this host, newest first: what they took corrects what is expected. */
  readonly past: readonly PastMove[];
};

export type MovePlan = {
  readonly vm: string;
  readonly destination: string;
  /** What would forbid the move, at both hosts. */
  readonly problems: readonly Problem[];
  readonly guest: {
    readonly memoryBytes: number;
    /** Pages that are zero, and pages that the guest can do without (`--prune`); neither is sent. */
    readonly zeroBytes: number;
    readonly leftOutBytes: number;
    /** What is sent, before packing, and a packed page as a part of a whole one. */
    readonly contentBytes: number;
    readonly packedShare: number;
    /** Written per second, each page once each time; and the memory that these writes fall on. */
    readonly writtenBytesPerS: number;
    readonly writtenToBytes: number;
    /** Of a page that is written to, as sent again; null where hardly any was. */
    readonly deltaBytesPerPage: number | null;
  };
  /** Null where it could not be measured. */
  readonly link: { readonly bytesPerS: number | null; readonly roundTripMs: number | null };
  /** Of the processors' time, the share that nobody uses; null where the destination does not say. */
  readonly idle: { readonly source: number; readonly destination: number | null };
  /** What the predictions are computed from. */
  readonly facts: MoveFacts;
  /** For how long the guest was looked at. */
  readonly measuredMs: number;
  readonly predictions: readonly Prediction[];
  readonly recommended: StrategyName;
  /** A sentence for people. */
  readonly why: string;
  /** What could not be measured, in sentences. */
  readonly notes: readonly string[];
};
