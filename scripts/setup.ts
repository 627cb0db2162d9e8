/**
 * `npm run setup`: everything that vmferry's demo and tests need and that npm does not bring. Idempotent; says nothing and
 * takes a few hundredths of a second where nothing is missing.
 *
 * System packages are installed by apt where this runs as root on Debian. QEMU 10 and the guest image go to `.cache` and
 * leave the system as it is. Elsewhere it prints what to install and exits with 1.
 */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { ensureGuestImages, guestImagesAreThere } from '../guests/images.ts';
import { PrivateApt } from './setup-apt.ts';
import { debianRelease, missingPackages, run, SetupError } from './setup-debian.ts';
import type { Release } from './setup-debian.ts';
import { installQemu10, qemu10IsThere, systemQemuIsNew } from './setup-qemu.ts';

/** What vmferry, its lab, its guests and its tests use from Debian. */
const systemPackages = [
  'qemu-system-x86',
  'qemu-utils',
  'qemu-block-extra',
  'iproute2',
  'procps',
  'e2fsprogs',
  'busybox-static',
  'gcc',
  'libc6-dev',
  'tgt',
  'wrk',
  'xz-utils',
];
const cache = resolve(import.meta.dirname, '..', '.cache');

function installSystemPackages(release: Release): void {
  const missing = missingPackages(systemPackages);
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0) {
    throw new SetupError(
      `Missing Debian packages. As root:\n  apt-get update && apt-get install --no-install-recommends ${missing.join(' ')}`,
    );
  }
  console.log(`Installing from Debian ${release.codename}: ${missing.join(' ')}`);
  run('apt-get', ['-qq', 'update']);
  run('apt-get', ['-qq', '-y', '--no-install-recommends', 'install', ...missing]);
  // The package starts an iSCSI target on all addresses; vmferry's tests start their own, in the lab.
  if (missing.includes('tgt') && existsSync('/run/systemd/system')) run('systemctl', ['disable', '--now', 'tgt']);
}

function setUp(): void {
  const release = debianRelease();
  if (release === null || release.major < 12) {
    throw new SetupError(
      `This set-up knows Debian 12 and newer. On other systems install the equivalents of these packages yourself: ` +
        `${systemPackages.join(' ')}; and QEMU 10 or newer. Its programs belong in ${cache}/qemu-10/bin.`,
    );
  }
  installSystemPackages(release);
  const apt = new PrivateApt(`${cache}/apt`, release);
  if (!qemu10IsThere(`${cache}/qemu-10`)) {
    console.log('Fetching QEMU 10 beside the system QEMU (.cache/qemu-10)');
    if (systemQemuIsNew(release))
      console.log(`Debian ${release.major} has no QEMU 7.2: tests against 7.2 are unavailable`);
    installQemu10(`${cache}/qemu-10`, apt, release);
  }
  if (!guestImagesAreThere()) {
    console.log('Building the guest image (.cache/guests)');
    ensureGuestImages();
  }
}

try {
  setUp();
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
