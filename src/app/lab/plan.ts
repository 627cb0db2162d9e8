/**
 * A lab as a plan: two hosts, `a` and `b`, their names, addresses and folders, and how the link between them is shaped.
 *
 *     namespace vmferry-LAB-a                         namespace vmferry-LAB-b
 *       br0 198.18.N.1/24 ── eth0 ═══ veth, tbf both ways ═══ eth0 ── br0 198.18.N.2/24
 *       taps of guests on br0                           taps of guests on br0
 *
 * Nothing leaves the two namespaces: no route and no link leads out of them. 198.18.0.0/15 is the range that RFC 2544 sets
 * aside for benchmarks.
 */
import { join, resolve } from 'node:path';
import { LabError } from './errors.ts';

export const hostNames = ['a', 'b'] as const;
export type HostName = (typeof hostNames)[number];

export const linkNames = ['100mbit', '1gbit', '10gbit'] as const;
export type LinkName = (typeof linkNames)[number];

export const linkBitsPerS: Readonly<Record<LinkName, number>> = {
  '100mbit': 100e6,
  '1gbit': 1e9,
  '10gbit': 10e9,
};

export const bridgeName = 'br0';
export const linkDevice = 'eth0';
export const DELAY_MS_MAX = 1000;
/** How long a packet may wait in the shaper before it is dropped. */
const QUEUE_MS = 50;

export type LabHostPlan = {
  readonly name: HostName;
  readonly namespace: string;
  readonly address: string;
  readonly folder: string;
  readonly configFile: string;
  readonly socket: string;
  readonly stateFolder: string;
  /** What the agent writes to its standard output and error. */
  readonly agentLog: string;
};

export type LabPlan = {
  readonly name: string;
  readonly folder: string;
  readonly pkiFolder: string;
  /** What `lab up` made, and the processes it started. */
  readonly recordFile: string;
  readonly prefixBits: 24;
  readonly hosts: readonly [LabHostPlan, LabHostPlan];
};

export const projectFolder = resolve(import.meta.dirname, '../../..');

/** The plan of a lab; the same name gives the same plan. Throws LabError LAB_NAME. */
export function planLab(name = 'lab', root = join(projectFolder, '.cache/lab')): LabPlan {
  if (!/^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$/.test(name)) {
    throw new LabError('LAB_NAME', `"${name}" cannot name a lab: use 1 to 20 lower-case letters, digits or "-"`, {
      name,
    });
  }
  const folder = join(root, name);
  const subnet = `198.18.${subnetOf(name)}`;
  const host = (host: HostName, index: number): LabHostPlan => ({
    name: host,
    namespace: `vmferry-${name}-${host}`,
    address: `${subnet}.${index + 1}`,
    folder: join(folder, host),
    configFile: join(folder, host, 'agent.yaml'),
    socket: join(folder, host, 'agent.sock'),
    stateFolder: join(folder, host, 'state'),
    agentLog: join(folder, host, 'agent.out'),
  });
  return {
    name,
    folder,
    pkiFolder: join(folder, 'pki'),
    recordFile: join(folder, 'lab.json'),
    prefixBits: 24,
    hosts: [host('a', 0), host('b', 1)],
  };
}

/**
 * `tc qdisc` arguments, one list per queueing discipline, that shape one direction of the link.
 *
 * tbf's burst is a millisecond of the rate, and at least two 64 KiB packets: a sender with segmentation offload hands over
 * packets of up to 64 KiB, and tbf cuts those that exceed its burst into frames, one by one, at a high price in CPU. The
 * delay comes first (netem), so that the queue in the shaper stays a queue of packets that are due.
 */
export function shapingOf(link: LinkName, delayMs: number): string[][] {
  if (!(delayMs >= 0 && delayMs <= DELAY_MS_MAX)) {
    throw new LabError('LAB_OPTION', `Delay of ${delayMs} ms is not within 0 to ${DELAY_MS_MAX} ms`, { delayMs });
  }
  const bitsPerS = linkBitsPerS[link];
  const burstBytes = Math.max(2 * 65_536, Math.round(bitsPerS / 8 / 1000));
  const tbf = ['tbf', 'rate', `${bitsPerS}bit`, 'burst', String(burstBytes), 'latency', `${QUEUE_MS}ms`];
  if (delayMs === 0) return [['root', 'handle', '1:', ...tbf]];
  // netem counts packets; these may be as small as a frame, so this is never less than the rate times the delay.
  const packets = Math.ceil((bitsPerS / 8 / 1000) * ((delayMs + QUEUE_MS) / 1000)) + 1000;
  return [
    ['root', 'handle', '1:', 'netem', 'delay', `${delayMs}ms`, 'limit', String(packets)],
    ['parent', '1:1', 'handle', '10:', ...tbf],
  ];
}

/** 1 for the default lab, 2 to 254 for others. Two labs with the same number do not meet: their links are their own. */
function subnetOf(name: string): number {
  if (name === 'lab') return 1;
  let hash = 0;
  for (const character of name) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 253;
  return 2 + hash;
}
