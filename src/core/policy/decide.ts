/**
 * The autopilot's decisions: a pure function of the fleet, the configuration, the history and the predictions.
 *
 *     silent, stale, calm, not for long enough, cooling down ... ──▶ stay, with the reason
 *     above the mark for long enough ──▶ the cheapest VM that relieves the host ──▶ the place that looks best afterwards
 *
 * Hottest hosts first: they have the first choice of places. Every host gets an answer in every round; sentence.ts makes a
 * sentence of it. See docs/autopilot.md.
 */
import { compareCandidates, examine, moveOf } from './candidates.ts';
import type { Candidate, Wish } from './candidates.ts';
import type { AutopilotConfig } from './config.ts';
import { emptyHosts } from './consolidate.ts';
import { refusals } from './decision.ts';
import type { Decision, Load, MoveDecision, Predict, Refusal, StayReason } from './decision.ts';
import { HostState } from './fleet.ts';
import type { Fleet } from './fleet.ts';
import { isKnown } from './history.ts';
import type { PolicyHistory, Pressure } from './history.ts';
import { pressedResource, sharesOf } from './marks.ts';
import type { Shares } from './marks.ts';
import { Round } from './round.ts';

/** Call `history.observe(fleet, config)` first. Nothing that is given is changed. */
export function decide(fleet: Fleet, config: AutopilotConfig, history: PolicyHistory, predict: Predict): Decision[] {
  const round = new Round(fleet, config, history, predict);
  const decisions: Decision[] = [];
  const pressed: { readonly host: number; readonly above: number; readonly pressure: Pressure }[] = [];
  for (let host = 0; host < fleet.hostCount; host++) {
    const pressure = history.pressureOf(fleet.hostNames[host]!);
    const reason = reasonToStay(round, host, pressure);
    if (reason !== null) decisions.push({ kind: 'stay', host, hostName: fleet.hostNames[host]!, reason });
    else if (pressure !== null) {
      const { share, mark } = loadOf(round, host, round.marks.stop);
      pressed.push({ host, above: share - mark, pressure });
    }
  }
  pressed.sort((a, b) => b.above - a.above || a.host - b.host);
  for (const { host, pressure } of pressed) decisions.push(...relieve(round, host, pressure));
  if (config.goal !== 'consolidate') return decisions;
  const emptied = emptyHosts(round);
  const sources = new Set(emptied.map(({ from }) => from));
  return [...decisions.filter((each) => each.kind === 'move' || !sources.has(each.host)), ...emptied];
}

/** Null: it is to be relieved now. */
function reasonToStay(round: Round, host: number, pressure: Pressure | null): StayReason | null {
  const { fleet, config, marks } = round;
  if (fleet.hostState[host] === HostState.Silent) return { why: 'silent' };
  if (fleet.hostState[host] === HostState.Draining) return { why: 'draining' };
  if (!isKnown(fleet, host, config)) {
    const ageMs = fleet.atMs - fleet.figuresAtMs[host]!;
    return { why: 'stale figures', ageMs, ageMsMax: config.figuresAgeMsMax };
  }
  if (pressure === null) return { why: 'calm', ...loadOf(round, host, marks.act) };
  const load = pressingLoad(round, host);
  const forMs = fleet.atMs - pressure.sinceMs;
  if (!pressure.isActing) return { why: 'not for long enough', forMs, sustainMs: config.sustainMs, ...load };
  // A history that was not shown this view may still call it pressed.
  if (pressedResource(fleet, host, marks.stop) === null) {
    return { why: 'calm', ...loadOf(round, host, marks.act) };
  }
  if (round.movesOf(host) >= config.movesAtATime)
    return { why: 'moves under way', moves: round.movesOf(host), ...load };
  const leftMs = round.coolingLeftMs(host);
  return leftMs > 0 ? { why: 'cooling down', leftMs, ...load } : null;
}

/** As many moves as the host may make at a time, until what stays is at the low mark. */
function relieve(round: Round, host: number, pressure: Pressure): Decision[] {
  const { fleet, config, marks } = round;
  const forMs = fleet.atMs - pressure.sinceMs;
  const moves: MoveDecision[] = [];
  const gone: { cpu: number; memory: number } = { cpu: 0, memory: 0 };
  const chosen = new Set<number>();
  while (round.movesOf(host) < config.movesAtATime) {
    const load = loadOf(round, host, marks.stop, gone);
    if (load.share <= load.mark) break;
    const wish: Wish = {
      ...{ host, order: config.goal === 'consolidate' ? 'fullest first' : 'emptiest first' },
      ...{ accepts: () => true, movesMax: config.movesAtATime },
      // An overload is expected to last as long again as it has lasted.
      totalMsMax: Math.min(forMs, config.reliefMsMax),
      relief: { resource: load.resource, excessShare: load.share - load.mark },
    };
    const vms = fleet.vmsAt(host).filter((vm) => !chosen.has(vm));
    const { candidates, refused } = examineAll(round, vms, wish);
    const best = candidates.toSorted(compareCandidates)[0];
    if (best === undefined) {
      if (moves.length > 0) break;
      const reason = { why: 'no VM can go', vms: vms.length, refused, ...pressingLoad(round, host) } as const;
      return [{ kind: 'stay', host, hostName: fleet.hostNames[host]!, reason }];
    }
    chosen.add(best.vm);
    gone.cpu += fleet.vmCores(best.vm) / fleet.cores[host]!;
    gone.memory += fleet.vmMemoryBytes[best.vm]! / fleet.memoryBytes[host]!;
    const goal = config.goal === 'balance' ? 'balance' : 'threshold';
    const before = sharesOf(fleet, host);
    const fromAfter = { cpu: before.cpu - gone.cpu, memory: before.memory - gone.memory };
    moves.push({
      ...moveOf(round, best),
      ...{ goal, load: pressingLoad(round, host), forMs, choices: candidates.length, fromAfter },
    });
    round.take(best.vm, best.to, best.prediction);
  }
  return moves;
}

function examineAll(round: Round, vms: readonly number[], wish: Wish) {
  const refused = Object.fromEntries(refusals.map((refusal) => [refusal, 0])) as Record<Refusal, number>;
  const candidates: Candidate[] = [];
  for (const vm of vms) {
    const answer = examine(round, vm, wish);
    if (typeof answer === 'string') refused[answer]++;
    else candidates.push(answer);
  }
  return { candidates, refused };
}

/** For people: beside the mark that the host is above, which once it was acted on is the lower one. */
function pressingLoad(round: Round, host: number): Load {
  const load = loadOf(round, host, round.marks.act);
  return load.share > load.mark ? load : loadOf(round, host, round.marks.stop);
}

/** Of the resource that is nearest to its mark, or furthest above it. */
function loadOf({ fleet }: Round, host: number, marks: Shares, gone: Shares = { cpu: 0, memory: 0 }): Load {
  const shares = sharesOf(fleet, host);
  const cpu = shares.cpu - gone.cpu;
  const memory = shares.memory - gone.memory;
  if (cpu - marks.cpu >= memory - marks.memory) return { resource: 'cpu', share: cpu, mark: marks.cpu };
  return { resource: 'memory', share: memory, mark: marks.memory };
}
