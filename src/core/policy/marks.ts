/**
 * At which share of CPU and memory a host is acted on, when that ends, and how far a destination may go: all goals are the
 * same machinery with other marks.
 *
 * Invariant: place <= stop <= act. So a move never makes its destination a host to act on, each one lowers its source, and
 * under loads that do not change the policy comes to rest.
 */
import type { AutopilotConfig } from './config.ts';
import { HostState } from './fleet.ts';
import type { Fleet } from './fleet.ts';

export type Resource = 'cpu' | 'memory';
export type Shares = { readonly cpu: number; readonly memory: number };
export type Marks = {
  /** Above it for long enough, something is done; */
  readonly act: Shares;
  /** until it is at or below this. */
  readonly stop: Shares;
  /** A destination is at or below this afterwards. */
  readonly place: Shares;
};

export function marksOf(fleet: Fleet, config: AutopilotConfig): Marks {
  const { thresholdShare, lowShare, memoryShare, balanceMargin } = config;
  if (config.goal !== 'balance') {
    return {
      act: { cpu: thresholdShare, memory: Infinity },
      stop: { cpu: lowShare, memory: Infinity },
      place: { cpu: lowShare, memory: memoryShare },
    };
  }
  const mean = meanShares(fleet);
  const stop = {
    cpu: Math.min(lowShare, mean.cpu + balanceMargin / 2),
    memory: Math.min(memoryShare, mean.memory + balanceMargin / 2),
  };
  const act = {
    cpu: Math.min(thresholdShare, mean.cpu + balanceMargin),
    memory: Math.min(memoryShare, mean.memory + balanceMargin),
  };
  return { act, stop, place: stop };
}

/** Of what the host will be when the moves under way have ended. */
export function sharesOf(fleet: Fleet, host: number): Shares {
  return { cpu: cpuShareOf(fleet, host), memory: memoryShareOf(fleet, host) };
}

export function cpuShareOf(fleet: Fleet, host: number): number {
  return (fleet.usedCores[host]! - fleet.leavingCores[host]!) / fleet.cores[host]!;
}

export function memoryShareOf(fleet: Fleet, host: number): number {
  return (fleet.usedBytes[host]! - fleet.leavingBytes[host]!) / fleet.memoryBytes[host]!;
}

/** The resource that is furthest above its mark; null: none is above. Hot: no allocation. */
export function pressedResource(fleet: Fleet, host: number, marks: Shares): Resource | null {
  const cpu = cpuShareOf(fleet, host) - marks.cpu;
  const memory = memoryShareOf(fleet, host) - marks.memory;
  if (cpu <= 0 && memory <= 0) return null;
  return cpu >= memory ? 'cpu' : 'memory';
}

/** Used divided by there, over the hosts that can take VMs: moves do not change it. */
function meanShares(fleet: Fleet): Shares {
  let [usedCores, cores, usedBytes, bytes] = [0, 0, 0, 0];
  for (let host = 0; host < fleet.hostCount; host++) {
    if (fleet.hostState[host] !== HostState.Active) continue;
    usedCores += fleet.usedCores[host]! - fleet.leavingCores[host]!;
    usedBytes += fleet.usedBytes[host]! - fleet.leavingBytes[host]!;
    cores += fleet.cores[host]!;
    bytes += fleet.memoryBytes[host]!;
  }
  return cores === 0 ? { cpu: 0, memory: 0 } : { cpu: usedCores / cores, memory: usedBytes / bytes };
}
