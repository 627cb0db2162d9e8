/** The network of a lab, made and removed with ip(8) and tc(8). Every step may be repeated. */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import type { TapPlan } from '../../io/qemu/command-line.ts';
import { LabError } from './errors.ts';
import { bridgeName, linkDevice, shapingOf } from './plan.ts';
import type { LabHostPlan, LabPlan, LinkName } from './plan.ts';

const run = promisify(execFile);
const COMMAND_TIMEOUT_MS = 10_000;

export type LinkBytes = { readonly sent: number; readonly received: number };

export function namespaceExists(namespace: string): boolean {
  return existsSync(`/run/netns/${namespace}`);
}

/** Makes both namespaces and the link between them; those of the same name must not exist. Throws LabError LAB_COMMAND. */
export async function createNetwork(plan: LabPlan): Promise<void> {
  const [a, b] = plan.hosts;
  for (const host of plan.hosts) await command('ip', ['netns', 'add', host.namespace]);
  const peer = ['peer', 'name', linkDevice, 'netns', b.namespace];
  await command('ip', ['link', 'add', linkDevice, 'netns', a.namespace, 'type', 'veth', ...peer]);
  for (const host of plan.hosts) {
    const ip = (...argv: string[]): Promise<string> => command('ip', ['-n', host.namespace, ...argv]);
    await ip('link', 'set', 'lo', 'up');
    // No spanning tree and no IPv6: a bridge that just came up must forward at once, and be silent.
    // Its own address, because else the bridge takes that of a port: a tap that comes or goes would change it, and the other
    // host would talk to the old one until its neighbour entry expires (seen: 10 s of silence).
    const address = ['address', `02:00:c6:12:00:0${plan.hosts.indexOf(host) + 1}`];
    const quiet = ['stp_state', '0', 'forward_delay', '0', 'mcast_snooping', '0'];
    await ip('link', 'add', bridgeName, ...address, 'type', 'bridge', ...quiet);
    await ip('link', 'set', linkDevice, 'master', bridgeName);
    await ip('address', 'add', `${host.address}/${plan.prefixBits}`, 'dev', bridgeName);
    await ip('link', 'set', linkDevice, 'up');
    await ip('link', 'set', bridgeName, 'up');
  }
}

/**
 * Sets rate and delay of the link, in both directions; what was set before is replaced. Throws LabError LAB_OPTION where the
 * kernel has no netem, with the rate set and no delay.
 */
export async function shapeLink(plan: LabPlan, link: LinkName, delayMs: number): Promise<void> {
  const shaping = shapingOf(link, delayMs);
  try {
    for (const host of plan.hosts) await setQueueing(host, shaping);
  } catch (cause) {
    if (delayMs === 0) throw cause;
    for (const host of plan.hosts) await setQueueing(host, shapingOf(link, 0));
    const advice = 'load the module sch_netem, or leave the delay out';
    throw new LabError('LAB_OPTION', `This kernel cannot delay packets: ${advice}`, { delayMs }, { cause });
  }
}

async function setQueueing(host: LabHostPlan, shaping: readonly (readonly string[])[]): Promise<void> {
  const tc = (...argv: string[]): Promise<string> => command('tc', ['-n', host.namespace, 'qdisc', ...argv]);
  await tc('del', 'dev', linkDevice, 'root').catch(() => undefined);
  for (const argv of shaping) await tc('add', 'dev', linkDevice, ...argv);
}

/** Cuts the link (both ends down) or restores it. Packets are lost, connections see only silence. */
export async function setLinkUp(plan: LabPlan, up: boolean): Promise<void> {
  for (const { namespace } of plan.hosts) {
    await command('ip', ['-n', namespace, 'link', 'set', linkDevice, up ? 'up' : 'down']);
  }
}

/** Makes the taps of a guest that no agent starts, on the host's bridge; those left over from before are replaced. */
export async function createTaps(host: LabHostPlan, taps: readonly TapPlan[]): Promise<void> {
  await deleteTaps(host, taps);
  for (const { ifname, bridge } of taps) {
    const ip = (...argv: string[]): Promise<string> => command('ip', ['-n', host.namespace, ...argv]);
    await ip('tuntap', 'add', 'dev', ifname, 'mode', 'tap');
    await ip('link', 'set', 'dev', ifname, 'master', bridge);
    await ip('link', 'set', 'dev', ifname, 'up');
  }
}

/** Deletes those of the taps that are there. */
export async function deleteTaps(host: LabHostPlan, taps: readonly TapPlan[]): Promise<void> {
  for (const { ifname } of taps) {
    await command('ip', ['-n', host.namespace, 'link', 'delete', 'dev', ifname]).catch(() => undefined);
  }
}

/** Removes one host's namespace; its end of the link goes with it, and the other end, too. */
export async function deleteNamespace(namespace: string): Promise<void> {
  if (!namespaceExists(namespace)) return;
  try {
    await command('ip', ['netns', 'delete', namespace]);
  } catch (error) {
    // Two tests that start at once both remove what a third left behind.
    if (namespaceExists(namespace)) throw error;
  }
}

/** Pids of every process that lives in a namespace. */
export async function pidsInNamespace(namespace: string): Promise<number[]> {
  if (!namespaceExists(namespace)) return [];
  const text = await command('ip', ['netns', 'pids', namespace]);
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map(Number);
}

/**
 * Bytes that a host's end of the link sent and received since it was made, with frame headers; but a packet that the
 * sender's offload made of several frames counts its headers once, which leaves out about 4 % of bulk TCP's wire bytes.
 */
export async function linkBytesOf(host: LabHostPlan): Promise<LinkBytes> {
  const text = await command('ip', ['-n', host.namespace, '-j', '-s', 'link', 'show', 'dev', linkDevice]);
  const [device] = JSON.parse(text) as { stats64: { rx: { bytes: number }; tx: { bytes: number } } }[];
  if (device === undefined) throw new LabError('LAB_COMMAND', `Host ${host.name} has no ${linkDevice}`);
  return { sent: device.stats64.tx.bytes, received: device.stats64.rx.bytes };
}

/** Network namespaces need root (CAP_SYS_ADMIN and CAP_NET_ADMIN). Throws LabError LAB_RIGHTS. */
export function requireRights(): void {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0';
  const needed = (1n << 21n) | (1n << 12n);
  if ((BigInt(`0x${effective}`) & needed) === needed) return;
  throw new LabError('LAB_RIGHTS', 'The lab makes network namespaces, which needs root: run it as root');
}

async function command(program: string, argv: readonly string[]): Promise<string> {
  try {
    const { stdout } = await run(program, argv, { timeout: COMMAND_TIMEOUT_MS });
    return stdout;
  } catch (cause) {
    const { stderr, message } = cause as Error & { stderr?: string };
    const text = `Cannot run "${program} ${argv.join(' ')}": ${(stderr ?? '').trim() || message}`;
    throw new LabError('LAB_COMMAND', text, { program }, { cause });
  }
}
