/** `vmferry vm ...`: the machines of one host. */
import { resolve } from 'node:path';
import type { VmView } from '../../../core/model/vm.ts';
import { formatBytes } from '../../../core/model/units.ts';
import { printResult, withAgent } from '../console.ts';
import type { CommonOptions, Console } from '../console.ts';
import { exitCodes } from '../exit-codes.ts';
import type { ExitCode } from '../exit-codes.ts';
import { readSpecFile } from '../spec-file.ts';
import { formatTable } from '../table.ts';

/** A start probes KVM once and waits for QEMU's monitor. */
const START_TIMEOUT_MS = 120_000;

export async function startVm(file: string, options: CommonOptions, console: Console): Promise<ExitCode> {
  const spec = readSpecFile(file);
  const call = { timeoutMs: START_TIMEOUT_MS };
  const view = await withAgent(console, options, (client) => client.call('startVm', { body: { spec } }, call));
  printResult(console, options, view, () => [`VM "${view.name}" runs (${placeText(view)}).`, ...guaranteeNotes(view)]);
  return exitCodes.completed;
}

export type StopOptions = CommonOptions & { readonly force?: boolean; readonly grace?: number };

export async function stopVm(name: string, options: StopOptions, console: Console): Promise<ExitCode> {
  const body = { force: options.force ?? false, ...(options.grace !== undefined && { graceMs: options.grace }) };
  const view = await withAgent(console, options, (client) =>
    client.call('stopVm', { params: { name }, body }, { timeoutMs: 0 }),
  );
  printResult(console, options, view, () => [`VM "${name}" is stopped.`]);
  return exitCodes.completed;
}

export async function listVms(options: CommonOptions, console: Console): Promise<ExitCode> {
  const { vms } = await withAgent(console, options, (client) => client.call('listVms', {}));
  printResult(console, options, { vms }, () => vmTable(vms));
  return exitCodes.completed;
}

export async function showVm(name: string, options: CommonOptions, console: Console): Promise<ExitCode> {
  const view = await withAgent(console, options, (client) => client.call('showVm', { params: { name } }));
  printResult(console, options, view, () => vmLines(view));
  return exitCodes.completed;
}

export type AdoptOptions = CommonOptions & { readonly qmp: string; readonly qga?: string; readonly spec: string };

export async function adoptVm(name: string, options: AdoptOptions, console: Console): Promise<ExitCode> {
  const spec = { ...readSpecFile(options.spec), name };
  const { qga } = options;
  const body = { name, qmp: resolve(options.qmp), ...(qga !== undefined && { qga: resolve(qga) }), spec };
  const view = await withAgent(console, options, (client) => client.call('adoptVm', { body }));
  printResult(console, options, view, () => [`VM "${name}" was adopted (${placeText(view)}).`]);
  return exitCodes.completed;
}

export function vmTable(vms: readonly VmView[]): string[] {
  if (vms.length === 0) return ['No VMs on this host.'];
  return formatTable(
    ['NAME', 'STATE', 'VCPUS', 'MEMORY', 'MACHINE', 'QEMU', 'ACCEL', 'PID', 'MIGRATION'],
    vms.map((vm) => [
      vm.name,
      vm.state,
      String(vm.vcpus),
      formatBytes(vm.memoryBytes),
      vm.machine,
      vm.qemuVersion ?? '-',
      vm.accelerator ?? '-',
      vm.pid === null ? '-' : String(vm.pid),
      vm.migration ?? '-',
    ]),
    'llrrlllrl',
  );
}

export function vmLines(vm: VmView): string[] {
  const rows = [
    ['name', vm.name],
    ['state', vm.state + (vm.adopted ? ' (adopted)' : '')],
    ['vCPUs', String(vm.vcpus)],
    ['memory', formatBytes(vm.memoryBytes)],
    ['machine', vm.machine],
    ['QEMU', `${vm.qemuVersion ?? 'unknown'}, ${vm.accelerator ?? 'unknown accelerator'}`],
    ['process', vm.pid === null ? 'none' : String(vm.pid)],
    ['migration', vm.migration ?? 'none'],
    ['folder', vm.runFolder],
    ...vm.spec.disks.map((disk) => ['disk', `${disk.source} (${disk.format}${disk.readOnly ? ', read-only' : ''})`]),
    ...vm.spec.networks.map((network) => [
      'network',
      network.type === 'tap' ? `tap on bridge ${network.bridge}` : network.type,
    ]),
  ];
  return formatTable(['', ''], rows, 'll').slice(1);
}

function placeText(vm: VmView): string {
  const pid = vm.pid === null ? '' : `, process ${vm.pid}`;
  return `${vm.machine}, QEMU ${vm.qemuVersion ?? 'unknown'}, ${vm.accelerator ?? 'unknown accelerator'}${pid}`;
}

/** What a person must know of this QEMU before they rely on it. */
function guaranteeNotes({ name, accelerator, qemuVersion }: VmView): string[] {
  const isOld = qemuVersion !== null && Number(qemuVersion.split('.')[0]) < 9;
  if (accelerator !== 'tcg' || !isOld) return [];
  return [
    `Note: QEMU ${qemuVersion} under software emulation misses some of the writes of a running guest while it is moved.`,
    `Move "${name}" with --verify, which refuses to commit a damaged copy, or use QEMU 9.0 or later, or KVM.`,
  ];
}
