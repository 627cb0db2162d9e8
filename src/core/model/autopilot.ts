/**
 * The autopilot and the draining of a host as people and programs see them (docs/autopilot.md).
 *
 * Shares are of 1, times in milliseconds, moments in ISO 8601.
 */

/**
 * off: nothing is looked at. acting: it decides and moves. standby: another autopilot does. dry run: it decides and moves nothing.
 */
export const autopilotStates = ['off', 'acting', 'standby', 'dry run'] as const;
export type AutopilotState = (typeof autopilotStates)[number];

/** What a host answers to an autopilot that asks for its lease. */
export type LeaseAnswer = {
  /** The host obeys whoever asked, for as long as was asked. */
  readonly granted: boolean;
  /** The host whose autopilot holds the lease, and for how much longer; null: nobody. */
  readonly holder: string | null;
  readonly leftMs: number;
  /** Orders to move VMs away are carried out; without it the host is only a destination. */
  readonly obeys: boolean;
  readonly draining: boolean;
  /** What it offers to guests. */
  readonly capacityBytes: number;
};

/** What a move takes: predicted before, measured after it. */
export type MoveCost = { readonly totalMs: number; readonly downtimeMs: number; readonly wireBytes: number };

export const moveOutcomes = ['completed', 'aborted', 'failed', 'refused', 'unknown'] as const;
/** refused: it never began. unknown: its host did not say what became of it. */
export type MoveOutcome = (typeof moveOutcomes)[number];

export type LoggedMove = {
  readonly vm: string;
  readonly from: string;
  readonly to: string;
  readonly predicted: MoveCost;
  /** Null: it did not begin, or not yet. */
  readonly migration: string | null;
  /** Null while it is under way, and for one that was only considered (`dryRun`). */
  readonly outcome: MoveOutcome | null;
  readonly endedAtMs: number | null;
  readonly measured: MoveCost | null;
  readonly error: string | null;
};

export const logKinds = ['state', 'stay', 'move', 'ended'] as const;
/** state: the autopilot or a drain began, ended, or changed. stay: nothing moves from a host. move: a VM goes. ended: it went, or not. */
export type LogKind = (typeof logKinds)[number];

export type AutopilotLogEntry = {
  /** Grows from entry to entry. */
  readonly sequence: number;
  readonly kind: LogKind;
  readonly dryRun: boolean;
  readonly host: string | null;
  readonly sentence: string;
  /** What else is to be known, one sentence each: why a VM could not be planned. */
  readonly details: readonly string[];
  readonly atMs: number;
  /** Decided so often, one time after the other, until `lastAtMs`. */
  readonly times: number;
  readonly lastAtMs: number;
  readonly move: LoggedMove | null;
};

export type FleetHostStatus = {
  readonly name: string;
  /** held: it obeys this autopilot. free: nobody's lease was asked for. silent: it does not answer. */
  readonly lease: 'held' | 'other' | 'free' | 'silent';
  readonly holder: string | null;
  readonly obeys: boolean;
  readonly draining: boolean;
  /** Averages as decisions see them; null: not known. */
  readonly cpuShare: number | null;
  readonly memoryShare: number | null;
  readonly vms: number | null;
  readonly figuresAgeMs: number | null;
  /** Why it takes no part, or what it answered last. */
  readonly problem: string | null;
  /** What was decided about it last. */
  readonly sentence: string | null;
};

export type AutopilotStatus = {
  readonly host: string;
  readonly state: AutopilotState;
  /** One sentence: why it is in this state. */
  readonly because: string;
  readonly settings: Readonly<Record<string, number | string>>;
  readonly hosts: readonly FleetHostStatus[];
  readonly moves: readonly LoggedMove[];
  readonly rounds: number;
  readonly lastRoundAtMs: number | null;
};

/** One round that was only considered. */
export type AutopilotRound = {
  /** What was taken for granted. */
  readonly notes: readonly string[];
  readonly decisions: readonly {
    readonly kind: 'stay' | 'move';
    readonly host: string;
    readonly sentence: string;
    readonly details: readonly string[];
  }[];
};

export const drainLineStates = ['waiting', 'moving', 'moved', 'stays'] as const;

export type DrainLineView = {
  readonly vm: string;
  readonly state: (typeof drainLineStates)[number];
  readonly to: string | null;
  readonly migration: string | null;
  /** 0 to 1. */
  readonly progress: number;
  readonly measured: MoveCost | null;
  /** For people: where it goes and when, where it went, or why it stays. */
  readonly sentence: string;
};

export type DrainView = {
  readonly host: string;
  /** It takes no VM until `undrain`. */
  readonly draining: boolean;
  readonly sinceMs: number | null;
  /** Moves are under way or to come. */
  readonly running: boolean;
  /** No VM is at the host. */
  readonly empty: boolean;
  /** How often it has been planned; after moves that failed it is planned again. */
  readonly plans: number;
  readonly lines: readonly DrainLineView[];
  readonly problem: string | null;
};
