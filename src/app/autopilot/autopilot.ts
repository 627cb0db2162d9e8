/**
 * The autopilot of a host: on or off, with settings that survive the agent, its log, and rounds that are only considered.
 *
 * Invariant: at most one pilot flies. It is replaced as a whole when settings change.
 */
import type { AutopilotLogEntry, AutopilotRound, AutopilotStatus } from '../../core/model/autopilot.ts';
import type { Fleet } from '../../core/policy/fleet.ts';
import { PolicyHistory } from '../../core/policy/history.ts';
import { percent } from '../../core/policy/sentence.ts';
import { formatMs } from '../../core/model/units.ts';
import type { Logger } from '../../io/log/logger.ts';
import type { DecisionLog } from './decision-log.ts';
import type { FleetHost } from './fleet-host.ts';
import { Moves } from './moves.ts';
import { Pilot } from './pilot.ts';
import { memoryMs, rebuildHistory } from './policy-memory.ts';
import { autopilotSettings } from './settings.ts';
import type { AutopilotSettings, GivenSettings } from './settings.ts';

export type AutopilotParts = {
  readonly own: string;
  /** All that this host knows, itself among them. */
  readonly hosts: readonly FleetHost[];
  /** From the configuration of the agent. */
  readonly defaults: GivenSettings;
  readonly log: DecisionLog;
  readonly logger: Logger;
  /** Milliseconds since 1970, but never going back. */
  readonly clockMs: () => number;
};

/** What is kept under this name while the autopilot is on. */
const MEMORY = 'autopilot';
type Kept = { readonly dryRun: boolean; readonly settings: GivenSettings };

/** So often a round by itself is tried again when VMs had to be looked at first. */
const LOOKS_MAX = 10;

export class Autopilot {
  readonly #parts: AutopilotParts;
  readonly #history: PolicyHistory;
  readonly #moves: Moves;
  #pilot: Pilot | null = null;
  /** One change at a time. */
  #turn: Promise<void> = Promise.resolve();

  constructor(parts: AutopilotParts) {
    const { log, hosts, logger, clockMs } = parts;
    this.#parts = parts;
    const longest = autopilotSettings({ vmCooldownMs: 7 * 24 * 3_600_000 });
    const entries = log.movesSince(clockMs() - memoryMs(longest));
    this.#history = rebuildHistory(entries);
    const byName = new Map(hosts.map((host) => [host.name, host]));
    this.#moves = new Moves({ hosts: byName, history: this.#history, log, logger, clockMs });
    this.#moves.resume(entries);
  }

  /** Takes up what was on when the agent ended. */
  restore(): void {
    const kept = this.#parts.log.recall(MEMORY) as Kept | null;
    if (kept === null) return;
    try {
      this.#start(this.#settings(kept.settings), kept.dryRun);
    } catch (error) {
      // The configuration was changed since: what was given at the command line does not fit any more.
      const text = 'The autopilot stays off, because its settings do not fit the configuration';
      this.#parts.logger.error('autopilot.failed', text, { error });
    }
  }

  /** Throws PolicyError POLICY_CONFIG; nothing has changed then. */
  async turnOn(given: GivenSettings, dryRun: boolean): Promise<AutopilotStatus> {
    const settings = this.#settings(given);
    await this.#inTurn(async () => {
      await this.#stop();
      this.#parts.log.keep(MEMORY, { dryRun, settings: given } satisfies Kept);
      this.#note(
        `The autopilot of ${this.#parts.own} was turned on${dryRun ? ' for a dry run' : ''}: ${rule(settings)}.`,
      );
      this.#start(settings, dryRun);
    });
    return this.status();
  }

  async turnOff(): Promise<AutopilotStatus> {
    await this.#inTurn(async () => {
      if (this.#pilot === null) return;
      await this.#stop();
      this.#parts.log.keep(MEMORY, null);
      this.#note(`The autopilot of ${this.#parts.own} was turned off.`);
    });
    return this.status();
  }

  status(): AutopilotStatus {
    const { own } = this.#parts;
    const pilot = this.#pilot;
    const state = pilot?.state ?? { state: 'off', because: `The autopilot of ${own} is off.` };
    return {
      ...{ host: own, ...state, settings: { ...(pilot?.settings ?? this.#settings({})) } },
      ...{ hosts: pilot?.hostStatuses() ?? [], moves: this.#moves.open },
      ...{ rounds: pilot?.rounds ?? 0, lastRoundAtMs: pilot?.lastRoundAtMs ?? null },
    };
  }

  log(query: { readonly after?: number | undefined; readonly limit: number }): AutopilotLogEntry[] {
    return this.#parts.log.list(query);
  }

  /** One round that only says what it would do. Throws PolicyError POLICY_CONFIG. */
  async consider(given: GivenSettings): Promise<AutopilotRound> {
    const settings = this.#settings(given);
    const notes: string[] = [];
    const pilot = new Pilot(settings, true, { ...this.#parts, history: this.#history, moves: this.#moves });
    await pilot.lookAround();
    const observe = this.#observer(settings, notes);
    for (let looks = 0; ; looks++) {
      const { decisions, wanted } = await pilot.consider(observe);
      if (wanted.length > 0 && looks < LOOKS_MAX) {
        await pilot.look(wanted);
        continue;
      }
      return {
        notes: [...new Set(notes)],
        decisions: decisions.map((decision) => {
          const host = decision.kind === 'move' ? decision.fromName : decision.hostName;
          return { kind: decision.kind, host, sentence: pilot.sentenceOf(decision), details: pilot.detailsOf(host) };
        }),
      };
    }
  }

  /** Moves under way go on. */
  async close(): Promise<void> {
    await this.#inTurn(async () => await this.#stop());
    await this.#moves.close();
  }

  /** While the autopilot decides, hosts are above their marks since it saw it; else since so long that it would act. */
  #observer(settings: AutopilotSettings, notes: string[]): (fleet: Fleet) => PolicyHistory {
    const state = this.#pilot?.state.state;
    if (state === 'acting' || state === 'dry run') return () => this.#history;
    return (fleet) => {
      const lastedMs = Math.max(settings.sustainMs, ASSUMED_MS);
      notes.push(`Taken for granted: the loads of this moment have lasted for ${formatMs(lastedMs)}.`);
      const entries = this.#parts.log.movesSince(fleet.atMs - memoryMs(settings));
      const history = rebuildHistory(entries);
      const [atMs, figures] = [fleet.atMs, fleet.figuresAtMs.slice()];
      fleet.figuresAtMs.set(figures.map((each) => Math.max(0, each - lastedMs)));
      fleet.refresh(atMs - lastedMs);
      history.observe(fleet, settings);
      fleet.figuresAtMs.set(figures);
      fleet.refresh(atMs);
      history.observe(fleet, settings);
      return history;
    };
  }

  #settings(given: GivenSettings): AutopilotSettings {
    return autopilotSettings({ ...this.#parts.defaults, ...given });
  }

  #start(settings: AutopilotSettings, dryRun: boolean): void {
    this.#pilot = new Pilot(settings, dryRun, { ...this.#parts, history: this.#history, moves: this.#moves });
    this.#pilot.start();
  }

  async #stop(): Promise<void> {
    const pilot = this.#pilot;
    this.#pilot = null;
    await pilot?.stop();
    this.#parts.log.forgetLatest();
  }

  #note(sentence: string): void {
    const { log, logger, clockMs } = this.#parts;
    log.add({ kind: 'state', dryRun: false, host: null, sentence, atMs: clockMs() });
    logger.info('autopilot.state', sentence);
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    await turn;
  }
}

/** A round by itself takes loads to have lasted at least so long: less, and every move would be longer than the overload. */
const ASSUMED_MS = 10 * 60_000;

function rule({ goal, thresholdShare, lowShare }: AutopilotSettings): string {
  return `goal ${goal}, from ${percent(thresholdShare)} of CPU until ${percent(lowShare)}`;
}
