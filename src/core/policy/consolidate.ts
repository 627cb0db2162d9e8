/**
 * Goal `consolidate`: hosts with little to do are emptied, so that they can be switched off.
 *
 * All or nothing: a host is begun with only when every one of its VMs has a place now, because a half-emptied host saves
 * nothing. VMs go to hosts that use more cores than theirs, so the sum of the squares of used cores grows with every move:
 * under loads that do not change, this ends.
 */
import { compareCandidates, examine, moveOf } from './candidates.ts';
import type { Candidate, Wish } from './candidates.ts';
import type { MoveDecision } from './decision.ts';
import { HostState } from './fleet.ts';
import { isKnown } from './history.ts';
import { EMPTYING_MAX } from './limits.ts';
import { cpuShareOf, memoryShareOf } from './marks.ts';
import type { Round } from './round.ts';

export function emptyHosts(round: Round): MoveDecision[] {
  const moves: MoveDecision[] = [];
  for (const host of hostsToEmpty(round)) {
    const candidates = placesForAll(round, host);
    if (candidates === null) continue;
    moves.push(...firstMoves(round, host, candidates));
  }
  return moves;
}

/** Least used first. */
function hostsToEmpty(round: Round): number[] {
  const { fleet, config, history } = round;
  const hosts: number[] = [];
  for (let host = 0; host < fleet.hostCount; host++) {
    const isWanted = fleet.hostState[host] === HostState.Active && cpuShareOf(fleet, host) <= config.emptyBelowShare;
    if (!isWanted || fleet.usedBytes[host] === 0 || !isKnown(fleet, host, config)) continue;
    if (history.pressureOf(fleet.hostNames[host]!) !== null || round.movesOf(host) > 0) continue;
    if (round.coolingLeftMs(host) <= 0) hosts.push(host);
  }
  return hosts.sort((a, b) => fleet.usedCores[a]! - fleet.usedCores[b]! || a - b).slice(0, EMPTYING_MAX);
}

/** Reserves a place for each VM of the host; null, and nothing reserved, when one has none. */
function placesForAll(round: Round, host: number): Candidate[] | null {
  const { fleet, places, config } = round;
  const wish: Wish = {
    ...{ host, order: 'fullest first', relief: null, totalMsMax: config.reliefMsMax },
    // All of them may go to one host, one after the other.
    movesMax: Infinity,
    accepts: (to) => fleet.usedCores[to]! > fleet.usedCores[host]!,
  };
  const wasOpen = places.close(host);
  const candidates: Candidate[] = [];
  for (const vm of fleet.vmsAt(host).sort((a, b) => fleet.vmMemoryBytes[b]! - fleet.vmMemoryBytes[a]! || a - b)) {
    const answer = examine(round, vm, wish);
    if (typeof answer === 'string') {
      for (const taken of candidates) places.release(taken.vm);
      if (wasOpen) places.open(host);
      return null;
    }
    candidates.push(answer);
    places.reserve(vm, answer.to);
  }
  return candidates;
}

/** The others keep their places for this round, so that no other host is given them, and are decided again in the next. */
function firstMoves(round: Round, host: number, candidates: readonly Candidate[]): MoveDecision[] {
  const { fleet, config, marks } = round;
  const load = { resource: 'cpu', share: cpuShareOf(fleet, host), mark: marks.stop.cpu } as const;
  let [cpu, memory] = [load.share, memoryShareOf(fleet, host)];
  const moves: MoveDecision[] = [];
  for (const candidate of candidates.toSorted(compareCandidates)) {
    const { vm, to, prediction } = candidate;
    const hasTurn = [host, to].every(
      (each) => round.movesOf(each) < config.movesAtATime && round.affords(each, prediction),
    );
    if (!hasTurn) continue;
    round.take(vm, to, prediction);
    cpu -= fleet.vmCores(vm) / fleet.cores[host]!;
    memory -= fleet.vmMemoryBytes[vm]! / fleet.memoryBytes[host]!;
    moves.push({
      ...moveOf(round, candidate),
      ...({ goal: 'consolidate', load, forMs: 0, choices: candidates.length, fromAfter: { cpu, memory } } as const),
    });
  }
  return moves;
}
