/**
 * A VM's spec and one host's facts -> QEMU's arguments.
 *
 * The invariant is that source and destination build the same machine: every device has a fixed id and PCI place, MAC
 * addresses follow from the VM's name, and no option ROM is loaded for network cards, so no RAM block depends on what
 * a host has installed. The two sides differ only in paths, accelerator and `-incoming defer -S`.
 */
import { createHash } from 'node:crypto';
import type { DiskSpec, NetworkSpec, VmSpec } from '../../core/model/vm.ts';
import { blockdevOf, hasWriteCache } from './disk-source.ts';
import { QemuProcessError } from './errors.ts';
import { boardOf, DISKS_MAX, NETWORKS_MAX, virtioDevice, type Board } from './machine-board.ts';
import { runPaths, type RunPaths } from './run-paths.ts';

/** sun_path holds 108 bytes with its end mark. */
const SOCKET_PATH_BYTES_MAX = 107;

export type QemuHostFacts = {
  readonly binary: string;
  /** An existing folder of this VM on this host; absolute. */
  readonly runFolder: string;
  readonly accelerator: 'kvm' | 'tcg';
  /** true: waits for a migration and never starts the guest by itself. */
  readonly incoming: boolean;
  /** true: it has a monitor that outlives the agent (standing-monitor.ts), whose FIFOs exist. */
  readonly standingMonitor?: boolean;
};

/** A tap device that must exist before QEMU starts. */
export type TapPlan = { readonly ifname: string; readonly bridge: string };

export type QemuCommandLine = {
  readonly binary: string;
  readonly args: readonly string[];
  readonly paths: RunPaths;
  readonly taps: readonly TapPlan[];
};

/** Throws QemuProcessError QEMU_SPEC when the spec cannot be expressed. */
export function buildCommandLine(spec: VmSpec, host: QemuHostFacts): QemuCommandLine {
  checkLimits(spec, host);
  const paths = runPaths(host.runFolder);
  const board = boardOf(spec.machine);
  const inRun = (text: string): string => text.replaceAll('{run}', host.runFolder);
  const args = [
    ['-name', `guest=${escapeCommas(spec.name)},debug-threads=on`],
    machineArgs(spec, host, board),
    ['-nodefaults', '-no-user-config', '-display', 'none'],
    ['-chardev', `socket,id=qmp,path=${escapeCommas(paths.qmpSocket)},server=on,wait=off`],
    ['-mon', 'chardev=qmp,mode=control'],
    host.standingMonitor === true ? standingMonitorArgs(paths) : [],
    ['-chardev', `file,id=console,path=${escapeCommas(paths.consoleLog)},append=on`],
    ['-serial', 'chardev:console'],
    bootArgs(spec, inRun),
    spec.guestAgent ? agentArgs(paths, board) : [],
    spec.networks.flatMap((network, index) => networkArgs(spec.name, network, index, board)),
    spec.disks.flatMap((disk, index) =>
      diskArgs({ ...disk, source: inRun(disk.source) }, bootPlace(spec, index), board),
    ),
    spec.qemuArguments.map((argument) => replaceRun(argument, host.runFolder)),
    host.incoming ? ['-incoming', 'defer', '-S'] : [],
  ].flat();
  const taps = spec.networks.flatMap((network, index) =>
    network.type === 'tap' ? [{ ifname: tapNameOf(spec.name, index), bridge: network.bridge }] : [],
  );
  return { binary: host.binary, args, paths, taps };
}

/** QEMU's options take "," as a separator and ",," as a comma. */
export function escapeCommas(text: string): string {
  return text.replaceAll(',', ',,');
}

/** A locally administered MAC address (QEMU's 52:54:00 prefix) that follows from the VM's name and the card's number. */
export function macOf(vm: string, index: number): string {
  const digest = createHash('sha256').update(`${vm}/mac/${index}`).digest('hex');
  return `52:54:00:${digest.slice(0, 2)}:${digest.slice(2, 4)}:${digest.slice(4, 6)}`;
}

/** A tap device's name: Linux allows 15 characters, VM names are longer. */
export function tapNameOf(vm: string, index: number): string {
  return `vf${createHash('sha256').update(vm).digest('hex').slice(0, 10)}n${index}`;
}

function checkLimits(spec: VmSpec, host: QemuHostFacts): void {
  const paths = runPaths(host.runFolder);
  const refuse = (message: string): never => {
    throw new QemuProcessError('QEMU_SPEC', message, { vm: spec.name });
  };
  if (!host.runFolder.startsWith('/')) refuse(`Run folder "${host.runFolder}" is not an absolute path`);
  for (const path of [paths.qmpSocket, paths.agentSocket, paths.migrationSocket]) {
    const bytes = Buffer.byteLength(path);
    if (bytes > SOCKET_PATH_BYTES_MAX) {
      refuse(
        `Socket path ${path} has ${bytes} bytes, the system allows ${SOCKET_PATH_BYTES_MAX}: use a shorter folder`,
      );
    }
  }
  if (spec.disks.length > DISKS_MAX)
    refuse(`VM "${spec.name}" has ${spec.disks.length} disks, at most ${DISKS_MAX} fit`);
  if (spec.networks.length > NETWORKS_MAX) {
    refuse(`VM "${spec.name}" has ${spec.networks.length} networks, at most ${NETWORKS_MAX} fit`);
  }
}

function machineArgs(spec: VmSpec, host: QemuHostFacts, board: Board): string[] {
  const machine = `${escapeCommas(spec.machine)},accel=${host.accelerator}`;
  const common = ['-cpu', spec.cpu, '-smp', String(spec.vcpus), '-m', `${spec.memory}B`];
  if (!spec.sharedMemory) return ['-machine', machine, ...common];
  const backend = `memory-backend-memfd,id=${board.ramId},size=${spec.memory}B,share=on`;
  return ['-object', backend, '-machine', `${machine},memory-backend=${board.ramId}`, ...common];
}

function bootArgs(spec: VmSpec, inRun: (text: string) => string): string[] {
  return [
    ...(spec.firmware === undefined ? [] : ['-bios', inRun(spec.firmware)]),
    ...(spec.kernel === undefined ? [] : ['-kernel', inRun(spec.kernel)]),
    ...(spec.initrd === undefined ? [] : ['-initrd', inRun(spec.initrd)]),
    ...(spec.cmdline === undefined ? [] : ['-append', inRun(spec.cmdline)]),
  ];
}

function standingMonitorArgs(paths: RunPaths): string[] {
  const chardev = `pipe,id=standing,path=${escapeCommas(paths.standingMonitor)}`;
  return ['-chardev', chardev, '-mon', 'chardev=standing,mode=control'];
}

function agentArgs(paths: RunPaths, board: Board): string[] {
  return [
    ['-chardev', `socket,id=qga,path=${escapeCommas(paths.agentSocket)},server=on,wait=off`],
    ['-device', `${virtioDevice(board, 'serial', 0)},id=serial0`],
    ['-device', 'virtserialport,id=qga0,bus=serial0.0,nr=1,chardev=qga,name=org.qemu.guest_agent.0'],
  ].flat();
}

function networkArgs(vm: string, network: NetworkSpec, index: number, board: Board): string[] {
  if (network.type === 'none') return [];
  const id = `net${index}`;
  const backend =
    network.type === 'tap'
      ? `tap,id=${id},ifname=${tapNameOf(vm, index)},script=no,downscript=no`
      : ['user', `id=${id}`, ...network.forwards.map((rule) => `hostfwd=${escapeCommas(rule)}`)].join(',');
  const rom = board.pciBus === null ? '' : ',romfile=';
  const device = `${virtioDevice(board, 'net', index)},id=nic${index},netdev=${id},mac=${network.mac ?? macOf(vm, index)}`;
  return ['-netdev', backend, '-device', `${device}${rom}`];
}

type BootPlace = { readonly index: number; readonly bootIndex: number };

/** A kernel given directly takes boot index 0 for its loader. */
function bootPlace(spec: VmSpec, index: number): BootPlace {
  return { index, bootIndex: spec.kernel === undefined ? index : index + 1 };
}

function diskArgs(disk: DiskSpec, { index, bootIndex }: BootPlace, board: Board): string[] {
  const node = `disk${index}`;
  const device = `${virtioDevice(board, 'blk', index)},id=blk${index},drive=${node},bootindex=${bootIndex}`;
  const writeCache = hasWriteCache(disk) ? 'on' : 'off';
  return ['-blockdev', JSON.stringify(blockdevOf(disk, node)), '-device', `${device},write-cache=${writeCache}`];
}

/** Inside `key=value` lists a comma of the folder's name is escaped, as a plain argument it is not. */
function replaceRun(argument: string, runFolder: string): string {
  const at = argument.indexOf('{run}');
  const isInList = at !== -1 && argument.slice(0, at).includes('=');
  return argument.replaceAll('{run}', isInList ? escapeCommas(runFolder) : runFolder);
}
