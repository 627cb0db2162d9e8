/**
 * The guest of a case on host a of the lab, and what it says. The one file that knows the recipes of `guests/`.
 *
 * All modes get the same machine: QEMU of the lab's agents, one accelerator, and a second monitor for the bench, because the first
 * one serves its mover alone.
 */
import { rmSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DEFAULT_MEMORY, guestSpec, parseWorkLines, parseWriterLines } from '../../../guests/spec.ts';
import { parseSizeBytes } from '../../core/model/units.ts';
import { vmSpecSchema } from '../../core/model/vm.ts';
import type { VmSpec } from '../../core/model/vm.ts';
import { HEARTBEAT_PORT } from '../lab/heartbeat-listener.ts';
import { defaultQemu } from '../lab/host-agent.ts';
import type { MovableGuest, WatchTools } from '../lab/move-watch.ts';
import { NativeGuest } from '../lab/native-migration.ts';
import { bridgeName } from '../lab/plan.ts';
import type { LabPlan } from '../lab/plan.ts';
import { VmferryGuest } from '../lab/vmferry-migration.ts';
import type { BenchCase, CaseGuest } from './cases.ts';
import type { BenchMode } from './modes.ts';
import type { WorkPoint } from './work-curve.ts';

export type Accelerator = 'kvm' | 'tcg';

export const MONITOR_NAME = 'bench.sock';
const MOVED_NAME = 'guest';
export const NEIGHBOUR_NAME = 'neighbour';
const MOVED_HOST_NUMBER = 10;
const NEIGHBOUR_HOST_NUMBER = 11;
const STAYING_HOST_NUMBER = 20;

export { parseWriterLines };

/** Starts the guest that is moved. Throws what starting guests throws. */
export async function startMoved(
  { guest }: BenchCase,
  mode: BenchMode,
  tools: WatchTools,
  { accelerator, timeoutMs }: { readonly accelerator: Accelerator; readonly timeoutMs: number },
): Promise<MovableGuest> {
  const { plan, signal } = tools;
  const heartbeat = `${plan.hosts[0].address}:${HEARTBEAT_PORT}`;
  const qemuArguments = [...(guest.qemuArguments ?? []), '-qmp', `unix:{run}/${MONITOR_NAME},server=on,wait=off`];
  const place = { name: MOVED_NAME, address: addressOf(plan, MOVED_HOST_NUMBER), heartbeat };
  const spec = specOf({ ...guest, ...place, qemuArguments }, plan, accelerator);
  if (mode.family === 'qemu') {
    const { native, downtimeLimitMs } = mode;
    const common = { plan, spec, signal, accelerator, binary: defaultQemu(), mode: native, moveTimeoutMs: timeoutMs };
    return await NativeGuest.start({ ...common, ...(downtimeLimitMs !== undefined && { downtimeLimitMs }) });
  }
  const moved = await VmferryGuest.start(plan, spec, signal);
  moved.options = mode.options;
  return moved;
}

/** Starts a guest that stays on host a. Throws as `startMoved`. */
export async function startNeighbour(
  guest: CaseGuest,
  tools: WatchTools,
  accelerator: Accelerator,
): Promise<MovableGuest> {
  const place = { name: NEIGHBOUR_NAME, address: addressOf(tools.plan, NEIGHBOUR_HOST_NUMBER) };
  return await VmferryGuest.start(tools.plan, specOf({ ...guest, ...place }, tools.plan, accelerator), tools.signal);
}

/** Starts a guest for measurements without a move on host a, the `index`-th of them. Throws as `startMoved`. */
export async function startStaying(
  guest: CaseGuest,
  index: number,
  { plan, signal }: Pick<WatchTools, 'plan' | 'signal'>,
  accelerator: Accelerator,
): Promise<VmferryGuest> {
  const place = { name: `staying-${index}`, address: addressOf(plan, STAYING_HOST_NUMBER + index) };
  return await VmferryGuest.start(plan, specOf({ ...guest, ...place }, plan, accelerator), signal);
}

type PlacedGuest = CaseGuest & { readonly name: string; readonly address: string; readonly heartbeat?: string };

function specOf(guest: PlacedGuest, plan: LabPlan, accelerator: Accelerator): VmSpec {
  const { scratchDisk, ...options } = guest;
  const networks = [{ type: 'tap', bridge: bridgeName } as const];
  const disks = scratchDisk === undefined ? [] : [{ source: emptyDisk(plan, guest.name, scratchDisk) }];
  return vmSpecSchema.parse(guestSpec({ ...options, accelerator, networks, disks }));
}

/** A file that goes with the lab. */
function emptyDisk(plan: LabPlan, name: string, size: string): string {
  const file = join(plan.folder, `${name}.raw`);
  rmSync(file, { force: true });
  writeFileSync(file, '');
  truncateSync(file, parseSizeBytes(size));
  return file;
}

/** Its memory. */
export function memoryBytesOf({ memory = DEFAULT_MEMORY }: CaseGuest): number {
  return parseSizeBytes(memory);
}

/** The address of the guest that is moved. */
export function movedAddress(plan: LabPlan): string {
  return addressOf(plan, MOVED_HOST_NUMBER).split('/')[0]!;
}

function addressOf({ hosts: [{ address }], prefixBits }: LabPlan, number: number): string {
  return `${address.slice(0, address.lastIndexOf('.'))}.${number}/${prefixBits}`;
}

/** Where the bench's own monitor, and the guest agent, of the QEMU are that writes this console. */
export function socketsBeside(consoleFile: string): { readonly monitor: string; readonly qga: string } {
  const folder = dirname(consoleFile);
  return { monitor: join(folder, MONITOR_NAME), qga: join(folder, 'qga.sock') };
}

/** Whose lines say how much a guest gets done. */
export type WorkKind = 'writer' | 'program';

export function workKindOf({ programs = [] }: CaseGuest): WorkKind {
  return programs.length > 0 ? 'program' : 'writer';
}

/** What the guest has done so far, line by line: of its first program, or pages of its writer. */
export function workPoints(text: string, kind: WorkKind): WorkPoint[] {
  if (kind === 'writer') return parseWriterLines(text).map(({ guestMs, sequence }) => ({ guestMs, work: sequence }));
  const lines = parseWorkLines(text);
  return lines
    .filter(({ name }) => name === lines[0]?.name)
    .map(({ guestMs, work: done }) => ({ guestMs, work: done }));
}

/** Results that the guest's programs have found wrong so far. */
export function programFailures(text: string): number {
  const last = new Map(parseWorkLines(text).map(({ name, failures }) => [name, failures]));
  return [...last.values()].reduce((sum, failures) => sum + failures, 0);
}
