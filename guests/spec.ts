/**
 * The spec of a VM that runs the test guest with chosen workloads, as the kernel command line that `guests/init` reads.
 */
import type { z } from 'zod';
import type { vmSpecSchema } from '../src/core/model/vm.ts';
import { ensureDebianImage } from './debian/image.ts';
import { ensureGuestImages } from './images.ts';

/** A spec as an owner writes it: fields with defaults may be left out. */
export type VmSpecInput = z.input<typeof vmSpecSchema>;
type DiskInput = NonNullable<VmSpecInput['disks']>[number];
type NetworkInput = NonNullable<VmSpecInput['networks']>[number];

/** Of a guest of which nothing else is said. */
export const DEFAULT_MEMORY = '1G';

export type GuestOptions = {
  readonly name: string;
  /**
   * `debian` adds a disk with real servers and tools, which `programs` may then name: compile, video, nginx, redis. That image
   * is built when it is first asked for (docs/workloads.md).
   */
  readonly image?: 'small' | 'debian';
  /** Default `1G`. */
  readonly memory?: string;
  readonly vcpus?: number;
  readonly machine?: string;
  readonly accelerator?: 'auto' | 'kvm' | 'tcg';
  /** Sizes like `128M`; `bytes` changed per page and write, 0 for all of it. */
  readonly writer?: {
    readonly set: string;
    readonly rate: string;
    readonly pattern?: 'sequential' | 'random';
    readonly bytes?: number;
    /** In which all of the working set is checked once; default 10. */
    readonly checkSeconds?: number;
  };
  /** Fills this much file cache from the data disk, at most 768M; adds that disk (read-only). */
  readonly cache?: string;
  /** Memory with content that cannot be compressed, in MiB like `256M`; at most half of the guest's. */
  readonly random?: string;
  /** Keeps a checksummed, fsynced log on this disk, `recordsPerS` default 100. */
  readonly fileLog?: { readonly disk: DiskInput; readonly recordsPerS?: number };
  /** Uses and checks this much memory at random, and files on that disk (in memory without one): guests/programs/churn.c. */
  readonly churn?: { readonly set: string; readonly disk?: DiskInput };
  /** Programs that work until the guest ends and tell once a second how much they did, each a word like `dhrystone` or `mg,64M`. */
  readonly programs?: readonly string[];
  /** The program `mailfiles` with its files on that disk (in memory without one): docs/workloads.md. */
  readonly mail?: {
    readonly disk?: DiskInput;
    /** Default 500. */
    readonly files?: number;
    /** Transactions per second; 0, the default, is as many as there can be. */
    readonly rate?: number;
    /** The rate from some time on. */
    readonly change?: { readonly afterSeconds: number; readonly rate: number };
  };
  /** The guest agent is not started, never answers, or may not open files. */
  readonly agent?: 'off' | 'stopped' | 'forbidden';
  /** Further words of the kernel command line, like `init_on_free=1`. */
  readonly kernelWords?: readonly string[];
  /** Port of a TCP echo service. */
  readonly tcpPort?: number;
  /** `198.18.1.1:9000`: a UDP packet every millisecond goes there. */
  readonly heartbeat?: string;
  /** Address of the first network card with its prefix length, `198.18.1.10/24`; 10.0.2.15/24 where none is given. */
  readonly address?: string;
  readonly networks?: readonly NetworkInput[];
  readonly disks?: readonly DiskInput[];
  readonly qemuArguments?: readonly string[];
};

/** The spec; builds the guest images first where they are not there. Lines of the workloads go to the serial console. */
export function guestSpec(options: GuestOptions): VmSpecInput {
  const images = ensureGuestImages();
  const disks: DiskInput[] = [];
  if (options.cache !== undefined) disks.push({ source: images.dataDisk, readOnly: true });
  const words = ['console=ttyS0', 'quiet', 'panic=1'];
  if (options.fileLog !== undefined) {
    words.push(`vmferry.filelog=${deviceOf(disks.length)},${options.fileLog.recordsPerS ?? 100}`);
    disks.push(options.fileLog.disk);
  }
  const { writer, churn, mail } = options;
  if (options.image === 'debian') {
    words.push(`vmferry.root=${deviceOf(disks.length)}`);
    disks.push({ source: ensureDebianImage(), readOnly: true });
  }
  if (mail !== undefined) {
    const { disk, files = 500, rate = 0, change } = mail;
    const parts = [disk === undefined ? 'tmpfs' : deviceOf(disks.length), files, rate];
    if (change !== undefined) parts.push(change.afterSeconds, change.rate);
    words.push(`vmferry.run=mailfiles,${parts.join(',')}`);
    if (disk !== undefined) disks.push(disk);
  }
  if (churn !== undefined) {
    words.push(`vmferry.churn=${churn.set}${churn.disk === undefined ? '' : `,${deviceOf(disks.length)}`}`);
    if (churn.disk !== undefined) disks.push(churn.disk);
  }
  if (writer !== undefined) {
    const parts = [
      writer.set,
      writer.rate,
      writer.pattern ?? 'sequential',
      writer.bytes ?? 0,
      writer.checkSeconds ?? 10,
    ];
    words.push(`vmferry.writer=${parts.join(',')}`);
  }
  if (options.cache !== undefined) words.push(`vmferry.cache=${options.cache}`);
  if (options.random !== undefined) words.push(`vmferry.random=${options.random}`);
  for (const program of options.programs ?? []) words.push(`vmferry.run=${program}`);
  if (options.agent !== undefined) words.push(`vmferry.agent=${options.agent}`);
  words.push(...(options.kernelWords ?? []));
  if (options.tcpPort !== undefined) words.push(`vmferry.tcp=${options.tcpPort}`);
  if (options.heartbeat !== undefined) words.push(`vmferry.heartbeat=${options.heartbeat}`);
  if (options.address !== undefined) words.push(`vmferry.ip=${options.address}`);
  return {
    name: options.name,
    machine: options.machine ?? 'q35',
    memory: options.memory ?? DEFAULT_MEMORY,
    vcpus: options.vcpus ?? 1,
    accelerator: options.accelerator ?? 'auto',
    kernel: images.kernel,
    initrd: images.initrd,
    cmdline: words.join(' '),
    disks: [...disks, ...(options.disks ?? [])],
    networks: [...(options.networks ?? [])],
    qemuArguments: [...(options.qemuArguments ?? [])],
  };
}

/** One 100 ms line of the writer, see guests/programs/writer.c. */
export type WriterLine = {
  readonly sequence: number;
  readonly guestMs: number;
  readonly gapMs: number;
  readonly corruptedWords: number;
};

export function parseWriterLines(text: string): WriterLine[] {
  return Array.from(text.matchAll(/^W seq=(\d+) ms=(\d+) gap=(\d+) bad=(\d+)\r?$/gm), (match) => ({
    sequence: Number(match[1]),
    guestMs: Number(match[2]),
    gapMs: Number(match[3]),
    corruptedWords: Number(match[4]),
  }));
}

/** One 100 ms line of churn, see guests/programs/churn.c. */
export type ChurnLine = {
  readonly steps: number;
  readonly mibCompared: number;
  readonly filesCompared: number;
  readonly freshPages: number;
  readonly guestMs: number;
  readonly damagedPages: number;
};

export function parseChurnLines(text: string): ChurnLine[] {
  const line = /^C ops=(\d+) mib=(\d+) files=(\d+) zero=(\d+) ms=(\d+) bad=(\d+)\r?$/gm;
  return Array.from(text.matchAll(line), (match) => ({
    steps: Number(match[1]),
    mibCompared: Number(match[2]),
    filesCompared: Number(match[3]),
    freshPages: Number(match[4]),
    guestMs: Number(match[5]),
    damagedPages: Number(match[6]),
  }));
}

/** One line a second of a program that works: `R NAME seq=N ms=GUEST work=UNITS bad=FAILURES`. */
export type WorkLine = {
  readonly name: string;
  readonly sequence: number;
  readonly guestMs: number;
  /** Since it began, in units of its own. */
  readonly work: number;
  /** Results that were not what they must be. */
  readonly failures: number;
};

export function parseWorkLines(text: string): WorkLine[] {
  const line = /^R ([a-z0-9-]+) seq=(\d+) ms=(\d+) work=(\d+) bad=(\d+)\r?$/gm;
  return Array.from(text.matchAll(line), (match) => ({
    name: match[1]!,
    sequence: Number(match[2]),
    guestMs: Number(match[3]),
    work: Number(match[4]),
    failures: Number(match[5]),
  }));
}

function deviceOf(index: number): string {
  return `/dev/vd${String.fromCharCode('a'.charCodeAt(0) + index)}`;
}
