/**
 * The guest of the demo, the tests and the benchmarks, built from Debian packages into `.cache/guests`.
 *
 * A folder there is named by the hash of everything that goes into it: this recipe, the init script and the programs. It
 * is complete once it has its final name, so a build that was interrupted leaves nothing that is mistaken for an image.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { extractPackages, PrivateApt } from '../scripts/setup-apt.ts';
import { debianRelease, run, SetupError } from '../scripts/setup-debian.ts';
import { CpioArchive } from './cpio.ts';
import { modulesInOrder } from './kernel.ts';

export type GuestImages = {
  readonly kernel: string;
  readonly initrd: string;
  /** ext4 image (raw) with `dataFileBytes` of files that compress about 2:1. Open it read-only: all guests share it. */
  readonly dataDisk: string;
  /** Static host programs of the same sources: `filelog check FILE` checks a log that a guest wrote; `work` is below. */
  readonly programs: string;
};

export const dataFileBytes = 768 * 2 ** 20;
const here = import.meta.dirname;
const cache = resolve(here, '..', '.cache');
const guestPrograms = ['writer', 'filelog', 'tcpecho', 'heartbeat', 'fillcache', 'churn'];
const hostPrograms = ['makefiles', 'filelog'];
/** The programs that tell how much they did (docs/workloads.md): one file, `work`, under many names. */
const workPrograms = 'dhrystone linpack livermore mg is sp bt memhold mailfiles tally'.split(' ');
const workSources = ['work', 'sweeps', ...workPrograms];

export function guestImagesAreThere(): boolean {
  return existsSync(imageFolder());
}

/**
 * The images, built first where they are not there (about half a minute; downloads a kernel and the guest agent).
 * Throws SetupError where something that the build needs is missing.
 */
export function ensureGuestImages(): GuestImages {
  const folder = imageFolder();
  if (!existsSync(folder)) build(folder);
  return {
    kernel: join(folder, 'vmlinuz'),
    initrd: join(folder, 'initrd'),
    dataDisk: join(folder, 'data.ext4'),
    programs: join(folder, 'programs'),
  };
}

function imageFolder(): string {
  const hash = createHash('sha256');
  const sources = [...globSync('{*.ts,init,programs/*}', { cwd: here })].sort();
  for (const source of sources) {
    if (!source.endsWith('.test.ts') && source !== 'spec.ts')
      hash.update(source).update(readFileSync(join(here, source)));
  }
  return join(cache, 'guests', hash.digest('hex').slice(0, 16));
}

function build(folder: string): void {
  const release = debianRelease();
  if (release === null) throw new SetupError('Guest images are built from Debian packages: this machine is not Debian');
  mkdirSync(dirname(folder), { recursive: true });
  removeOld(dirname(folder));
  const work = mkdtempSync(join(dirname(folder), 'building-'));
  const apt = new PrivateApt(join(cache, 'apt'), release);
  const kernel = apt.dependencyOf(release.codename, 'linux-image-cloud-amd64', /^linux-image-/);
  extractPackages(
    apt.download(release.codename, [kernel, 'qemu-guest-agent', 'util-linux-extra']),
    join(work, 'packages'),
  );
  compile(work);
  writeKernel(work);
  writeInitrd(work);
  writeDataDisk(work);
  for (const leftover of ['packages', 'files', 'guest-programs']) rmSync(join(work, leftover), { recursive: true });
  chmodSync(work, 0o755);
  // Another process may have built the same meanwhile: then that one stays.
  if (existsSync(folder)) rmSync(work, { recursive: true });
  else renameSync(work, folder);
}

/** Images of other recipes and builds that were interrupted; what is younger than a day may still be in use. The Debian
 * image (debian/image.ts) is not of this recipe. */
function removeOld(guests: string): void {
  const day = 24 * 3600 * 1000;
  for (const old of globSync(join(guests, '*'))) {
    if (basename(old).startsWith('debian-')) continue;
    if (Date.now() - statSync(old).mtimeMs > day) rmSync(old, { recursive: true });
  }
}

function compile(work: string): void {
  for (const [folder, names] of [
    ['guest-programs', guestPrograms],
    ['programs', hostPrograms],
  ] as const) {
    mkdirSync(join(work, folder));
    for (const name of names) {
      const source = join(here, 'programs', `${name}.c`);
      run('gcc', ['-std=gnu11', '-O2', '-Wall', '-static', '-o', join(work, folder, name), source]);
    }
  }
  const sources = workSources.map((name) => join(here, 'programs', `${name}.c`));
  const options = ['-std=gnu11', '-O2', '-Wall', '-fopenmp', '-static', '-s'];
  run('gcc', [...options, '-o', join(work, 'programs/work'), ...sources, '-lm']);
}

function writeKernel(work: string): void {
  const [image] = globSync(join(work, 'packages/boot/vmlinuz-*'));
  if (image === undefined) throw new SetupError('The kernel package has no boot/vmlinuz-*');
  copyFileSync(image, join(work, 'vmlinuz'));
}

function writeInitrd(work: string): void {
  const archive = new CpioArchive();
  for (const folder of ['bin', 'dev', 'lib', 'lib64', 'lib/modules']) archive.folder(folder);
  // The kernel opens the first console before anything is mounted.
  archive.characterDevice('dev/console', 5, 1);
  archive.characterDevice('dev/null', 1, 3);
  archive.file('init', readFileSync(join(here, 'init')));
  archive.file('bin/busybox', readFileSync('/usr/bin/busybox'));
  archive.link('bin/sh', 'busybox');
  for (const name of guestPrograms) archive.file(`bin/${name}`, readFileSync(join(work, 'guest-programs', name)));
  archive.file('bin/work', readFileSync(join(work, 'programs/work')));
  for (const name of workPrograms) archive.link(`bin/${name}`, 'work');
  const agent = join(work, 'packages/usr/sbin/qemu-ga');
  const fincore = join(work, 'packages/usr/bin/fincore');
  archive.file('bin/qemu-ga', readFileSync(agent));
  archive.file('bin/fincore', readFileSync(fincore));
  addLibraries(archive, [agent, fincore]);
  const modules = modulesInOrder(join(work, 'packages'));
  for (const module of modules) archive.file(`lib/modules/${module.name}`, module.content, 0o644);
  archive.file('lib/modules/order', Buffer.from(modules.map((module) => `${module.name}\n`).join('')), 0o644);
  writeFileSync(join(work, 'initrd'), archive.bytes());
}

/** The shared libraries of these programs, from this machine (the system's QEMU and its util-linux need the same ones), and their loader. */
function addLibraries(archive: CpioArchive, programs: readonly string[]): void {
  const text = run('ldd', programs);
  if (text.includes('not found')) throw new SetupError(`Libraries of the guest's programs are missing here:\n${text}`);
  const files = Array.from(text.matchAll(/(?:=> |^\s+)(\/\S+) \(0x/gm), ([, file = '']) => file);
  for (const file of new Set(files)) {
    archive.file(`${/ld-linux/.test(file) ? 'lib64' : 'lib'}/${basename(file)}`, readFileSync(file));
  }
}

/** mkfs.ext4 fills the file system from a folder itself: no loop device and no mount is needed. */
function writeDataDisk(work: string): void {
  const files = join(work, 'files');
  const disk = join(work, 'data.ext4');
  mkdirSync(files);
  run(join(work, 'programs/makefiles'), [files, String(dataFileBytes)]);
  formatDisk(disk, dataFileBytes + 64 * 2 ** 20, ['-d', files]);
}

/** Makes (or empties) a raw ext4 disk image, for example for the log workload. */
export function formatDisk(file: string, sizeBytes: number, options: readonly string[] = []): void {
  writeFileSync(file, '');
  truncateSync(file, sizeBytes);
  run('/usr/sbin/mkfs.ext4', ['-q', '-F', '-m', '0', '-E', 'lazy_itable_init=0,lazy_journal_init=0', ...options, file]);
}
