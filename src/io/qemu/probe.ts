/** What a QEMU binary is and can do, without starting a guest; and whether KVM really runs one. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { describeError } from '../../core/base/errors.ts';
import { BOOT_SECTOR_TEXT, EXIT_CODE_OF_SUCCESS, bootDisk } from './boot-sector.ts';
import { QemuProcessError } from './errors.ts';
import { reasonFromLog } from './qemu-log.ts';
import { QmpClient } from './qmp-client.ts';
import type { QemuVersion } from './version.ts';

const PROBE_TIMEOUT_MS = 15_000;
const KVM_TIMEOUT_MS = 5000;
/** The test guest takes about 0.1 s on a sound host. A slower one is compared with software emulation. */
const PROMPT_BOOT_MS = 1000;
/** Nested hosts were seen where KVM booted it 30 times slower than emulation, and never an operating system. */
const SLOWER_THAN_EMULATION_MAX = 3;
const OUTPUT_CHARS_MAX = 4096;

export type MachineType = { readonly name: string; readonly aliases: readonly string[]; readonly vcpusMax: number };

export type QemuProbe = {
  readonly binary: string;
  readonly version: QemuVersion;
  /** Concrete, versioned types; `aliases` are the unversioned names that stand for them in this version. */
  readonly machines: readonly MachineType[];
};

/** Throws QemuProcessError QEMU_BINARY when it cannot be run or does not answer. */
export async function probeQemu(binary: string): Promise<QemuProbe> {
  const args = ['-M', 'none', '-nodefaults', '-no-user-config', '-display', 'none', '-qmp', 'stdio', '-S'];
  const child = spawn(binary, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const errors = collect(child.stderr);
  const exited = Promise.withResolvers<void>();
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => undefined);
  child.once('close', () => exited.resolve());
  child.once('error', (error) => {
    exited.resolve();
    failed.reject(error);
  });
  try {
    const stream = Duplex.from({ readable: child.stdout, writable: child.stdin });
    const attached = QmpClient.attach({ stream, vm: `probe of ${binary}`, timeoutMs: PROBE_TIMEOUT_MS });
    using qmp = await Promise.race([attached, failed.promise]);
    const machines = await qmp.execute('query-machines', undefined, { timeoutMs: PROBE_TIMEOUT_MS });
    return {
      binary,
      version: qmp.version,
      machines: machines.map((machine) => ({
        name: machine.name,
        aliases: machine.alias === undefined ? [] : [machine.alias],
        vcpusMax: machine['cpu-max'],
      })),
    };
  } catch (cause) {
    const why = reasonFromLog(errors.text()) ?? (cause as Error).message;
    throw new QemuProcessError('QEMU_BINARY', `Cannot use ${binary} as QEMU: ${why}`, { binary }, { cause });
  } finally {
    child.kill('SIGKILL');
    await exited.promise;
  }
}

/** The concrete type of a name or alias ("q35" -> "pc-q35-10.0"); null when this QEMU does not have it. */
export function resolveMachine(probe: QemuProbe, name: string): string | null {
  return probe.machines.find((type) => type.name === name || type.aliases.includes(name))?.name ?? null;
}

export type KvmProbe =
  { readonly works: true; readonly bootMs: number } | { readonly works: false; readonly reason: string };

/**
 * Boots a guest of one disk sector through the firmware and sees that it runs. A /dev/kvm that exists is no proof: in
 * nested set-ups it may start guests that never get anywhere, or run far slower than emulation; the answer is then no.
 * Takes some hundred milliseconds on a sound host, `timeoutMs` at most twice; never throws.
 */
export async function probeKvm(binary: string, timeoutMs: number = KVM_TIMEOUT_MS): Promise<KvmProbe> {
  const kvm = await bootTinyGuest(binary, 'kvm', timeoutMs);
  if (!kvm.works || kvm.bootMs <= PROMPT_BOOT_MS) return kvm;
  const emulated = await bootTinyGuest(binary, 'tcg', timeoutMs);
  if (!emulated.works || kvm.bootMs <= SLOWER_THAN_EMULATION_MAX * emulated.bootMs) return kvm;
  const times = `${Math.round(kvm.bootMs)} ms with KVM, ${Math.round(emulated.bootMs)} ms with software emulation`;
  return { works: false, reason: `KVM runs, but slower than software emulation (a test guest took ${times})` };
}

/** As probeKvm, for any accelerator: with `tcg` it proves the probe itself. */
export async function bootTinyGuest(binary: string, accelerator: 'kvm' | 'tcg', timeoutMs: number): Promise<KvmProbe> {
  let folder: string | null = null;
  try {
    folder = await mkdtemp(join(tmpdir(), 'vmferry-probe-'));
    const image = join(folder, 'boot.img');
    await writeFile(image, bootDisk());
    return await runTinyGuest(binary, tinyGuestArgs(image, accelerator), timeoutMs);
  } catch (error) {
    return { works: false, reason: describeError(error) };
  } finally {
    if (folder !== null) await rm(folder, { recursive: true, force: true });
  }
}

function tinyGuestArgs(image: string, accelerator: 'kvm' | 'tcg'): string[] {
  const disk = { driver: 'raw', 'node-name': 'boot', file: { driver: 'file', filename: image } };
  return [
    ['-machine', `q35,accel=${accelerator}`, '-m', '32M', '-nodefaults', '-no-user-config', '-display', 'none'],
    ['-blockdev', JSON.stringify(disk), '-device', 'ide-hd,bus=ide.0,drive=boot,bootindex=0'],
    ['-debugcon', 'stdio', '-device', 'isa-debug-exit,iobase=0xf4,iosize=0x04'],
  ].flat();
}

async function runTinyGuest(binary: string, args: readonly string[], timeoutMs: number): Promise<KvmProbe> {
  const startMs = performance.now();
  const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const output = collect(child.stdout);
  const errors = collect(child.stderr);
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  const { promise, resolve } = Promise.withResolvers<number | Error | null>();
  child.once('close', resolve);
  child.once('error', resolve);
  const ended = await promise;
  clearTimeout(timer);
  if (ended instanceof Error) return { works: false, reason: ended.message };
  if (ended === EXIT_CODE_OF_SUCCESS && output.text().includes(BOOT_SECTOR_TEXT)) {
    return { works: true, bootMs: performance.now() - startMs };
  }
  if (ended === null) {
    const got = output.text() === '' ? 'its boot sector never ran' : 'it stopped on the way';
    return { works: false, reason: `a test guest did not finish within ${timeoutMs} ms: ${got}` };
  }
  return { works: false, reason: reasonFromLog(errors.text()) ?? `QEMU ended with code ${ended}` };
}

function collect(stream: NodeJS.ReadableStream): { text: () => string } {
  let text = '';
  stream.on('data', (chunk: Buffer | string) => {
    text = (text + chunk.toString()).slice(-OUTPUT_CHARS_MAX);
  });
  return { text: () => text };
}
