/**
 * QEMU 10 beside the system's QEMU 7.2, in `.cache/qemu-10`, reached by wrapper scripts in `.cache/qemu-10/bin`.
 *
 * Debian 12 ships 7.2, whose software emulation loses dirty pages; QEMU 10 comes from its backports suite. A wrapper
 * `exec`s the real program, so that the pid is QEMU's own. Two environment variables keep the versions apart: without
 * QEMU_MODULE_DIR, QEMU 10 finds the 7.2 modules in /usr/lib first and refuses them ("Only modules from the same build").
 * On a Debian whose own QEMU is 10 or newer, the wrappers start that one.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { extractPackages } from './setup-apt.ts';
import type { PrivateApt } from './setup-apt.ts';
import { run, SetupError } from './setup-debian.ts';
import type { Release } from './setup-debian.ts';

const programs = ['qemu-system-x86_64', 'qemu-img', 'qemu-nbd', 'qemu-storage-daemon', 'qemu-io'] as const;
const packages = [
  'qemu-system-x86',
  'qemu-system-common',
  'qemu-system-data',
  'qemu-utils',
  'qemu-block-extra',
  'seabios',
  'ipxe-qemu',
] as const;
/** Raise this when the way the folder is made changes: an older folder is then made anew. */
const recipeVersion = '2';

/** The major version of the QEMU that Debian release `major` ships itself. */
export function systemQemuIsNew(release: Release): boolean {
  return release.major >= 13;
}

export function qemu10IsThere(folder: string): boolean {
  const stamp = join(folder, 'stamp');
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === stampText(folder);
}

/** Downloads, unpacks and checks QEMU 10; throws SetupError where a program is missing or does not run. */
export function installQemu10(folder: string, apt: PrivateApt, release: Release): void {
  const root = join(folder, 'root');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, 'bin'), { recursive: true });
  if (!systemQemuIsNew(release)) {
    const unpacked = join(folder, 'unpacking');
    extractPackages(apt.downloadWithDependencies(`${release.codename}-backports`, packages), unpacked);
    renameSync(unpacked, root);
  }
  for (const program of programs) writeWrapper(folder, systemQemuIsNew(release) ? null : root, program);
  checkQemu(folder);
  writeFileSync(join(folder, 'stamp'), stampText(folder));
}

function writeWrapper(folder: string, root: string | null, program: string): void {
  const real = join(root ?? '/', 'usr/bin', program);
  if (!existsSync(real)) {
    throw new SetupError(`${program} is missing: expected ${real} from the packages ${packages.join(', ')}`);
  }
  const file = join(folder, 'bin', program);
  writeFileSync(file, root === null ? `#!/bin/sh\nexec '${real}' "$@"\n` : wrapperText(root, real, program));
  chmodSync(file, 0o755);
}

function wrapperText(root: string, real: string, program: string): string {
  const libraries = `${root}/usr/lib/x86_64-linux-gnu`;
  const data = ['usr/share/qemu', 'usr/share/seabios', 'usr/lib/ipxe/qemu'].map((path) => ` -L '${root}/${path}'`);
  return [
    '#!/bin/sh',
    `export LD_LIBRARY_PATH='${libraries}'"\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"`,
    `export QEMU_MODULE_DIR='${libraries}/qemu'`,
    `exec '${real}'${program.startsWith('qemu-system') ? data.join('') : ''} "$@"`,
    '',
  ].join('\n');
}

/** Starts each program once: the version, the NBD and iSCSI drivers (iSCSI is a module), and SeaBIOS up to its end. */
function checkQemu(folder: string): void {
  for (const program of programs) {
    const text = run(join(folder, 'bin', program), ['--version']);
    if (!/\b\d\d+\.\d+\.\d+\b/.test(text.split('\n')[0] ?? ''))
      throw new SetupError(`${program} is not QEMU 10 or newer: ${text.split('\n')[0]}`);
  }
  // Port 1 refuses: the driver was found and tried to connect. A driver that is not there says so instead.
  for (const url of ['nbd://127.0.0.1:1/x', 'iscsi://127.0.0.1:1/target/0']) {
    const said = run('sh', [
      '-c',
      'timeout 10 "$1" info "$2" 2>&1 || true',
      'sh',
      join(folder, 'bin', 'qemu-img'),
      url,
    ]);
    if (/unknown (protocol|driver)|failed to initialize module/i.test(said) || !/connect/i.test(said)) {
      throw new SetupError(`QEMU 10 cannot open ${url.split(':')[0]} disks: ${said.trim()}`);
    }
  }
  // Nothing to boot and reboot-timeout 1 ms: SeaBIOS runs, finds no disk and resets, which -no-reboot makes an exit.
  const argv = '-machine q35 -accel tcg -nodefaults -display none -no-reboot -boot reboot-timeout=1'.split(' ');
  const debug = ['-chardev', 'stdio,id=debug', '-device', 'isa-debugcon,iobase=0x402,chardev=debug'];
  const qemu = join(folder, 'bin', 'qemu-system-x86_64');
  if (!/SeaBIOS/.test(run('timeout', ['60', qemu, ...argv, ...debug]))) {
    throw new SetupError('QEMU 10 did not start SeaBIOS');
  }
}

function stampText(folder: string): string {
  return `${recipeVersion} ${folder}\n`;
}
