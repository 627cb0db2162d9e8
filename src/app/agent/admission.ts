/**
 * What speaks against running a machine on this host: for `vm start`, and at the destination before a migration.
 *
 * Every check runs, each within a bounded time, and every problem is reported, not only the first.
 */
import { execFile } from 'node:child_process';
import { access, constants, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { describeError } from '../../core/base/errors.ts';
import type { DiskSpec, Problem, VmSpec } from '../../core/model/vm.ts';
import { DISK_CHECK_MS } from './limits.ts';
import type { QemuFacts, QemuPort } from './qemu-port.ts';

const run = promisify(execFile);

export type AdmissionParts = {
  readonly host: string;
  readonly qemu: QemuPort;
  readonly qemuImg: string;
  /** What the host's configuration says; a spec may ask for less. */
  readonly accelerator: 'auto' | 'kvm' | 'tcg';
};

/** `machine`: the versioned type of the running source, or the spec's own where it starts here. */
export type Candidate = {
  readonly spec: VmSpec;
  readonly machine: string;
  /** The guest will run here while some of its pages are still elsewhere. */
  readonly pull?: boolean;
};

/** From this QEMU on a paused destination takes its disks only at `cont`, hence after the commit. */
const PULL_QEMU_MAJOR = 10;

/** Checks everything but name and capacity, which are the ledger's (reservations.ts). */
export async function checkAdmission(candidate: Candidate, parts: AdmissionParts): Promise<Problem[]> {
  const { spec } = candidate;
  const found = await Promise.all([
    checkQemu(candidate, parts),
    checkAccelerator(spec, parts),
    ...(candidate.pull === true ? [checkPull(parts)] : []),
    ...bootFilesOf(spec).map(([what, path]) => checkFile(what, path, parts.host)),
    ...spec.disks.map((disk) => checkDisk(disk, parts)),
    ...spec.networks.map((network) => (network.type === 'tap' ? checkBridge(network.bridge, parts.host) : [])),
  ]);
  return found.flat();
}

async function checkQemu({ spec, machine }: Candidate, { qemu, host }: AdmissionParts): Promise<Problem[]> {
  let facts: QemuFacts;
  try {
    facts = await qemu.facts();
  } catch (error) {
    return [{ code: 'QEMU_UNUSABLE', message: `QEMU of host "${host}" cannot be used: ${describeError(error)}.` }];
  }
  return [...machineProblems(machine, facts, host), ...cpuProblems(spec, facts, host)];
}

async function checkPull({ qemu, host }: AdmissionParts): Promise<Problem[]> {
  const { version } = await qemu.facts().catch(() => ({ version: '' }));
  if (version !== '' && Number(version.split('.')[0]) < PULL_QEMU_MAJOR) {
    const message =
      `QEMU ${version} of host "${host}" takes the disks of a guest before the migration is committed when pages are left ` +
      `to be pulled: install QEMU ${PULL_QEMU_MAJOR} there, or leave the pull phase out (--no-pull, another strategy than postcopy).`;
    return [{ code: 'PULL_QEMU_TOO_OLD', message }];
  }
  const problem = await qemu.userfaultfdProblem();
  if (problem === null) return [];
  const message =
    `Host "${host}" cannot run a guest before all of its pages are there: ${problem.replace(/\.$/, '')}. Allow userfaultfd ` +
    `(see vmferry doctor there), or leave the pull phase out (--no-pull, another strategy than postcopy).`;
  return [{ code: 'PULL_USERFAULTFD', message }];
}

export function machineProblems(machine: string, facts: QemuFacts, host: string): Problem[] {
  if (facts.machines.some(({ name, alias }) => name === machine || alias === machine)) return [];
  const wanted = /-(\d+)\.(\d+)$/.exec(machine);
  const [major = 0, minor = 0] = facts.version.split('.').map(Number);
  const tooOld =
    wanted !== null && (major < Number(wanted[1]) || (major === Number(wanted[1]) && minor < Number(wanted[2])));
  if (tooOld) {
    const message =
      `QEMU ${facts.version} of host "${host}" is older than machine type ${machine} asks for: ` +
      `install QEMU ${wanted[1]}.${wanted[2]} or newer there.`;
    return [{ code: 'QEMU_TOO_OLD', message }];
  }
  return [
    { code: 'MACHINE_UNKNOWN', message: `QEMU ${facts.version} of host "${host}" has no machine type "${machine}".` },
  ];
}

export function cpuProblems(spec: VmSpec, facts: QemuFacts, host: string): Problem[] {
  const model = spec.cpu.split(',')[0] ?? '';
  if (model === 'max' || model === 'host' || facts.cpus.has(model)) return [];
  return [{ code: 'CPU_UNKNOWN', message: `QEMU ${facts.version} of host "${host}" has no CPU model "${model}".` }];
}

async function checkAccelerator(spec: VmSpec, parts: AdmissionParts): Promise<Problem[]> {
  const wanted = spec.accelerator === 'auto' ? parts.accelerator : spec.accelerator;
  const needsKvm = wanted === 'kvm' || spec.cpu.split(',')[0] === 'host';
  if (!needsKvm) return [];
  const why = wanted === 'kvm' ? 'asks for KVM' : 'has the CPU model "host", which needs KVM';
  if (wanted !== 'tcg' && (await parts.qemu.kvmWorks())) return [];
  const message = `"${spec.name}" ${why}, but host "${parts.host}" cannot run guests with it (see vmferry doctor there).`;
  return [{ code: 'KVM_MISSING', message }];
}

/** Paths below `{run}` are made on each host by whoever starts the machine there. */
function bootFilesOf(spec: VmSpec): [what: string, path: string][] {
  const files: [string, string | undefined][] = [
    ['kernel', spec.kernel],
    ['initrd', spec.initrd],
    ['firmware', spec.firmware],
  ];
  return files.flatMap(([what, path]) => (path === undefined || path.startsWith('{run}') ? [] : [[what, path]]));
}

async function checkFile(what: string, path: string, host: string): Promise<Problem[]> {
  if (!path.startsWith('/')) {
    return [{ code: 'PATH_RELATIVE', message: `The ${what} "${path}" must be an absolute path.` }];
  }
  try {
    await access(path, constants.R_OK);
    return [];
  } catch (error) {
    const message = `Host "${host}" cannot read the ${what} ${path}: ${reasonOf(error)}.`;
    return [{ code: 'FILE_UNREADABLE', message }];
  }
}

async function checkDisk(disk: DiskSpec, parts: AdmissionParts): Promise<Problem[]> {
  const { source } = disk;
  if (source.startsWith('{run}')) return [];
  if (!/^[a-z]+:\/\//.test(source)) {
    const problems = await checkDiskFile(disk, parts.host);
    if (problems.length > 0) return problems;
  }
  // --force-share: another host has the image open. -f: a guest must not choose the format by what it writes.
  const args = ['info', '--backing-chain', '--force-share', '--output=json', '-f', disk.format, source];
  try {
    await run(parts.qemuImg, args, { timeout: DISK_CHECK_MS, killSignal: 'SIGKILL' });
    return [];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    const { killed, stderr = '' } = error as { killed?: boolean; stderr?: string };
    const why = killed ? `no answer within ${DISK_CHECK_MS} ms` : (stderr.trim().split('\n').at(-1) ?? reasonOf(error));
    const message = `Host "${parts.host}" cannot open the disk ${source}: ${why.replace(/^qemu-img: /, '').replace(/\.$/, '')}.`;
    return [{ code: 'DISK_UNREACHABLE', message }];
  }
}

async function checkDiskFile(disk: DiskSpec, host: string): Promise<Problem[]> {
  const refuse = (why: string): Problem[] => [
    {
      code: 'DISK_UNREACHABLE',
      message: `Host "${host}" cannot open the disk ${disk.source}: ${why}. Both hosts must see it at this path.`,
    },
  ];
  if (!disk.source.startsWith('/')) return refuse('it is not an absolute path');
  try {
    await access(disk.source, disk.readOnly ? constants.R_OK : constants.R_OK | constants.W_OK);
    const { isDirectory } = await stat(disk.source).then((found) => ({ isDirectory: found.isDirectory() }));
    return isDirectory ? refuse('it is a folder') : [];
  } catch (error) {
    return refuse(reasonOf(error));
  }
}

async function checkBridge(bridge: string, host: string): Promise<Problem[]> {
  try {
    const { stdout } = await run('ip', ['-o', 'link', 'show', 'dev', bridge, 'type', 'bridge'], {
      timeout: DISK_CHECK_MS,
    });
    if (stdout.trim() !== '') return [];
  } catch {
    // No such device: the same problem.
  }
  return [{ code: 'BRIDGE_MISSING', message: `Host "${host}" has no network bridge "${bridge}".` }];
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'it is not there',
  EACCES: 'permission denied',
  EROFS: 'it is on a read-only file system',
  ENOTDIR: 'its folder is not there',
};

function reasonOf(error: unknown): string {
  return reasons[(error as NodeJS.ErrnoException).code ?? ''] ?? describeError(error);
}
