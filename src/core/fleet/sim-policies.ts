/**
 * The policies that are compared. All see the same averaged figures; all but `vmferry` act on every host above the
 * threshold that has no move from it under way, and know of the rules only that some VMs are never to be moved and that
 * memory has an end.
 */
import type { AutopilotConfig } from '../policy/config.ts';
import { decide } from '../policy/decide.ts';
import type { Predict } from '../policy/decision.ts';
import { NOWHERE } from '../policy/fleet.ts';
import type { Fleet } from '../policy/fleet.ts';
import type { PolicyHistory } from '../policy/history.ts';
import { TIE_MS } from '../policy/limits.ts';
import { cpuShareOf } from '../policy/marks.ts';
import { Places } from '../policy/places.ts';
import { below, fraction } from './noise.ts';

export const simPolicyNames = ['none', 'random', 'most-loaded-first', 'rule65', 'vmferry'] as const;
export type SimPolicyName = (typeof simPolicyNames)[number];

export type Situation = {
  readonly fleet: Fleet;
  readonly config: AutopilotConfig;
  readonly history: PolicyHistory;
  readonly predict: Predict;
  readonly seed: number;
  readonly tick: number;
};
export type Wanted = { readonly vm: number; readonly to: number };

export const simPolicies: Readonly<Record<SimPolicyName, (situation: Situation) => Wanted[]>> = {
  none: () => [],
  random: randomly,
  'most-loaded-first': mostLoadedFirst,
  rule65,
  vmferry: ({ fleet, config, history, predict }) => {
    history.observe(fleet, config);
    return decide(fleet, config, history, predict).filter((each) => each.kind === 'move');
  },
};

/** Any VM, to any host with memory for it. */
function randomly(situation: Situation): Wanted[] {
  const places = allPlaces(situation.fleet);
  return hotHosts(situation).flatMap((host) => {
    const vms = movableVms(situation.fleet, host);
    const vm = vms[below(vms.length, fraction(situation.seed, host, situation.tick))];
    return vm === undefined ? [] : taken(places, vm, randomHost(situation, vm, places));
  });
}

/** The VM that uses most, to the host that uses least. */
function mostLoadedFirst({ fleet, config, ...rest }: Situation): Wanted[] {
  const places = allPlaces(fleet);
  return hotHosts({ fleet, config, ...rest }).flatMap((host) => {
    const vm = movableVms(fleet, host).toSorted((a, b) => fleet.vmCores(b) - fleet.vmCores(a))[0];
    if (vm === undefined) return [];
    const need = { vm, cores: 0, bytes: fleet.vmMemoryBytes[vm]!, marks: { cpu: 1, memory: 1 } };
    return taken(places, vm, places.find({ ...need, order: 'emptiest first', accepts: () => true })[0]);
  });
}

/** The paper's rule by itself. It says nothing of the destination, so that is any host with memory. */
function rule65(situation: Situation): Wanted[] {
  const { fleet, predict } = situation;
  const places = allPlaces(fleet);
  return hotHosts(situation).flatMap((host) => {
    const choices = movableVms(fleet, host).flatMap((vm) => {
      const to = randomHost(situation, vm, places);
      return to === undefined ? [] : [{ vm, to, ...predict(vm, host, to) }];
    });
    const best = choices.toSorted(
      (a, b) =>
        Math.round(a.totalMs / TIE_MS) - Math.round(b.totalMs / TIE_MS) || a.downtimeMs - b.downtimeMs || a.vm - b.vm,
    )[0];
    return best === undefined ? [] : taken(places, best.vm, best.to);
  });
}

function allPlaces(fleet: Fleet): Places {
  return new Places(fleet, () => true);
}

function taken(places: Places, vm: number, to: number | undefined): Wanted[] {
  if (to === undefined) return [];
  places.take(vm, to);
  return [{ vm, to }];
}

function hotHosts({ fleet, config }: Situation): number[] {
  const hosts: number[] = [];
  for (let host = 0; host < fleet.hostCount; host++) {
    if (cpuShareOf(fleet, host) > config.thresholdShare && fleet.leavingBytes[host] === 0) hosts.push(host);
  }
  return hosts;
}

function movableVms(fleet: Fleet, host: number): number[] {
  return fleet.vmsAt(host).filter((vm) => fleet.isPinned[vm] === 0 && fleet.vmTarget[vm] === NOWHERE);
}

const DRAWS_MAX = 32;

function randomHost({ fleet, seed, tick }: Situation, vm: number, places: Places): number | undefined {
  for (let draw = 0; draw < DRAWS_MAX; draw++) {
    const host = below(fleet.hostCount, fraction(seed + draw, vm, tick + 17));
    const bytes = places.bytes[host]! + fleet.vmMemoryBytes[vm]!;
    if (host !== fleet.vmHost[vm] && bytes <= fleet.memoryBytes[host]!) return host;
  }
  return undefined;
}
