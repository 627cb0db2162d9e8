/**
 * The second guest: a Debian root file system on a disk, for real servers and tools (docs/workloads.md). Built on demand
 * only, from Debian packages, into `.cache/guests/debian-HASH`; the hash is that of this folder.
 *
 * It boots with the kernel and the initrd of the small guest, whose init mounts the disk read-only and runs its workloads
 * in it: all that they write goes to memory. So all guests on all hosts share one file that nobody writes. Packages are
 * unpacked, not installed: none of their scripts runs, so no rights are needed, and what these would have made is made here.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  globSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { PrivateApt } from '../../scripts/setup-apt.ts';
import { debianRelease, run, SetupError } from '../../scripts/setup-debian.ts';
import { formatDisk } from '../images.ts';

const here = import.meta.dirname;
const cache = resolve(here, '../../.cache');
const packages = ['nginx', 'redis-server', 'gcc', 'libc6-dev', 'ffmpeg'];
/** Dependencies that none of the programs opens: interpreters, drivers of graphics cards and what these need, fonts. */
const leftOut = /^(lib)?perl|^libllvm|^libz3-|^libgl1-mesa-dri$|^fonts-|^lib([alt]|ub)san\d|^(dpkg|passwd|iproute2)$/;
const documentation = 'usr/share/{doc,man,info,locale,lintian,bash-completion}';
/** Where its workloads are, each named like the word that starts it. */
const workloads = 'usr/local/lib/vmferry';
/** Every size has this many files. */
const WEB_FILES = 8;
const webSizes = { small: 1 << 10, large: 64 << 10 } as const;
const clipSource = 'testsrc2=size=320x240:rate=25:duration=4';

/** The disk, built first where it is not there: docs/workloads.md says what that takes. Throws SetupError. */
export function ensureDebianImage(): string {
  const folder = join(cache, 'guests', `debian-${hashOfSources()}`);
  if (!existsSync(folder)) build(folder);
  return join(folder, 'root.ext4');
}

function hashOfSources(): string {
  const hash = createHash('sha256');
  for (const source of globSync('**/*', { cwd: here }).sort()) {
    if (lstatSync(join(here, source)).isFile()) hash.update(source).update(readFileSync(join(here, source)));
  }
  return hash.digest('hex').slice(0, 16);
}

function build(folder: string): void {
  const release = debianRelease();
  if (release === null) throw new SetupError('Guest images are built from Debian packages: this machine is not Debian');
  mkdirSync(join(cache, 'guests'), { recursive: true });
  for (const old of globSync(join(cache, 'guests/debian-*'))) rmSync(old, { recursive: true });
  const work = mkdtempSync(join(cache, 'guests/building-'));
  const root = join(work, 'root');
  const apt = new PrivateApt(join(cache, 'apt'), release);
  const files = apt.downloadClosure(packages, leftOut);
  unpack(files, root);
  for (const file of files) rmSync(file);
  unpackSource(apt.downloadSource(release.codename, 'zlib'), join(root, 'usr/local/src/zlib'));
  for (const unneeded of globSync(join(root, documentation))) rmSync(unneeded, { recursive: true });
  addOwnFiles(root);
  makeClip(root);
  tryPrograms(root);
  const bytes = Number(run('du', ['-s', '--apparent-size', '-B1', root]).split('\t')[0]);
  formatDisk(join(work, 'root.ext4'), Math.ceil((bytes * 1.2) / 2 ** 20) * 2 ** 20, ['-O', '^has_journal', '-d', root]);
  rmSync(root, { recursive: true });
  chmodSync(work, 0o755);
  // Another process may have built the same meanwhile: then that one stays.
  if (existsSync(folder)) rmSync(work, { recursive: true });
  else renameSync(work, folder);
}

/** As dpkg does it: what an older package has in /lib goes where that link leads. */
function unpack(files: readonly string[], root: string): void {
  for (const folder of ['bin', 'sbin', 'lib', 'lib64']) {
    mkdirSync(join(root, 'usr', folder), { recursive: true });
    symlinkSync(`usr/${folder}`, join(root, folder));
  }
  const script = 'dpkg-deb --fsys-tarfile "$1" | tar --keep-directory-symlink --no-same-owner -x -C "$2"';
  for (const file of files) run('sh', ['-c', script, 'sh', file, root]);
}

/** The upstream sources of a Debian source package, without their top folder. */
function unpackSource(files: readonly string[], folder: string): void {
  const archive = files.find((file) => /\.orig\.tar\.(gz|bz2|xz)$/.test(file));
  if (archive === undefined) throw new SetupError(`No upstream archive among ${files.join(' ')}`);
  const option = archive.endsWith('bz2') ? '-j' : archive.endsWith('xz') ? '-J' : '-z';
  mkdirSync(folder, { recursive: true });
  run('busybox', ['tar', '-x', option, '-f', archive, '-C', folder]);
  const [top] = globSync(join(folder, '*'));
  if (top === undefined) throw new SetupError(`${archive} is empty`);
  cpSync(top, folder, { recursive: true });
  rmSync(top, { recursive: true });
}

function addOwnFiles(root: string): void {
  for (const folder of ['proc', 'sys', 'dev', 'tmp', 'run', 'var', 'etc', workloads, 'usr/local/share/vmferry/www']) {
    mkdirSync(join(root, folder), { recursive: true });
  }
  for (const script of globSync(join(here, '*.sh'))) cpSync(script, join(root, workloads, basename(script, '.sh')));
  cpSync(join(here, 'nginx.conf'), join(root, 'usr/local/share/vmferry/nginx.conf'));
  // The initrd's tools are links to /bin/busybox.
  cpSync('/usr/bin/busybox', join(root, 'usr/bin/busybox'));
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/tmp:/bin/sh\n');
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\n');
  for (const [name, bytes] of Object.entries(webSizes)) {
    for (let file = 0; file < WEB_FILES; file++) {
      writeFileSync(join(root, `usr/local/share/vmferry/www/${name}-${file}`), webContent(name, file, bytes));
    }
  }
}

/** Hashes as text: every file differs, and nothing in it repeats. */
function webContent(name: string, file: number, bytes: number): string {
  let text = '';
  for (let line = 0; text.length < bytes; line++) {
    text += `${createHash('sha256').update(`${name} ${file} ${line}`).digest('hex')}\n`;
  }
  return text.slice(0, bytes);
}

/** Four seconds of H.264, and the hashes of its frames, which the standard defines to the bit. */
function makeClip(root: string): void {
  const clip = join(root, 'usr/local/share/vmferry/clip.mp4');
  const quiet = ['-nostdin', '-v', 'error'];
  runIn(root, 'ffmpeg', [...quiet, '-f', 'lavfi', '-i', clipSource, '-c:v', 'libx264', '-pix_fmt', 'yuv420p', clip]);
  const hashes = runIn(root, 'ffmpeg', [...quiet, '-i', clip, '-f', 'framemd5', '-']);
  writeFileSync(join(root, 'usr/local/share/vmferry/clip.framemd5'), hashes);
}

/** A dependency that was left out and is needed, or a link that a package's script would have made, shows here. */
function tryPrograms(root: string): void {
  for (const [program, version] of [
    ['nginx', '-v'],
    ['redis-server', '--version'],
    ['redis-cli', '--version'],
    ['gcc', '--version'],
    ['ffmpeg', '-version'],
  ] as const) {
    runIn(root, program, [version]);
  }
}

/** Runs a program of the file system here, with its own loader and libraries. */
function runIn(root: string, program: string, argv: readonly string[]): string {
  const library = join(root, 'usr/lib/x86_64-linux-gnu');
  const paths = ['', '/blas', '/lapack', '/pulseaudio'].map((folder) => library + folder).join(':');
  const [file] = globSync(join(root, `usr/{bin,sbin}/${program}`));
  if (file === undefined) throw new SetupError(`The Debian packages ${packages.join(', ')} have no ${program}`);
  return run(join(root, 'lib64/ld-linux-x86-64.so.2'), ['--library-path', paths, file, ...argv]);
}
