/**
 * Storage that both lab hosts reach over the network: NBD exports and iSCSI targets, each its own server on a lab host.
 *
 * A server runs in the foreground inside the host's namespace, so it ends with the lab whatever becomes of the test; its
 * files lie in the lab's folder. Nothing of the machine's own services is used: tgtd has its own control socket.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { formatDisk } from '../../guests/images.ts';
import { qemuBinaries } from './lab-hosts.ts';
import type { CliResult, HostName, LabHosts, QemuVersion } from './lab-hosts.ts';

const START_TIMEOUT_MS = 15_000;
const POLL_MS = 30;
const LOG_DISK_BYTES = 96 * 2 ** 20;

let targets = 0;

export type StorageServer = {
  /** What a spec names as the disk's source. */
  readonly source: string;
  /** The raw image behind it. */
  readonly file: string;
  /** Ends the server; everything that was written is in the file then. May be called again. */
  stop(): Promise<void>;
};

export type StorageOptions = {
  readonly host: HostName;
  readonly file: string;
  /** Where it listens, default the host's address on the link. */
  readonly address?: string;
  readonly port?: number;
};

export type NbdOptions = StorageOptions & {
  /** Default `qemu-nbd`. */
  readonly server?: 'qemu-nbd' | 'qemu-storage-daemon';
  /** Whose programs, default 10. */
  readonly qemu?: QemuVersion;
  /** How many clients may be connected at once; a migration needs two. Default 4. */
  readonly clients?: number;
};

/** A program of the same QEMU: `qemu-img`, `qemu-io`, `qemu-nbd`, ... */
export function qemuTool(name: string, version: QemuVersion = '10'): string {
  const file = join(dirname(qemuBinaries[version]), name);
  assert.ok(existsSync(file), `${file} is missing: run "npm run setup"`);
  return file;
}

/** An empty ext4 disk for the log workload in the lab's folder; returns the file. */
export function makeLogDisk(lab: LabHosts, name: string): string {
  const file = join(lab.folder, 'disks', `${name}.raw`);
  mkdirSync(dirname(file), { recursive: true });
  formatDisk(file, LOG_DISK_BYTES);
  return file;
}

/** Exports a raw image by NBD as `/disk`. */
export async function startNbd(lab: LabHosts, options: NbdOptions): Promise<StorageServer> {
  const { host, file, port = 10_809, server = 'qemu-nbd', clients = 4 } = options;
  const address = options.address ?? (await lab.address(host));
  const pidFile = `${file}.${server}.pid`;
  const argv =
    server === 'qemu-nbd'
      ? [
          ...['--persistent', `--shared=${clients}`, '--format=raw', '--cache=none', '--discard=unmap'],
          ...[`--bind=${address}`, `--port=${port}`, '--export-name=disk', `--pid-file=${pidFile}`, file],
        ]
      : [
          ...['--blockdev', `driver=file,node-name=file,filename=${file},cache.direct=on,discard=unmap`],
          ...['--blockdev', 'driver=raw,node-name=disk,file=file,discard=unmap'],
          ...['--nbd-server', `addr.type=inet,addr.host=${address},addr.port=${port},max-connections=${clients}`],
          ...['--export', 'type=nbd,id=disk,node-name=disk,name=disk,writable=on', '--pidfile', pidFile],
        ];
  const started = lab.spawnAt(host, qemuTool(server, options.qemu), ...argv);
  await untilReady(server, started, async () => await Promise.resolve(existsSync(pidFile)));
  return { source: `nbd://${address}:${port}/disk`, file, stop: async () => await end(started.child) };
}

/** Offers a raw image as LUN 1 of an iSCSI target. */
export async function startIscsi(lab: LabHosts, options: StorageOptions): Promise<StorageServer> {
  const { host, file, port = 3260 } = options;
  const address = options.address ?? (await lab.address(host));
  const target = 'iqn.2026-11.test.vmferry:log';
  // tgtd appends the number of its control port: SOCKET.1. The socket's path may have 107 bytes.
  const control = ['env', `TGT_IPC_SOCKET=${join(lab.folder, `tgtd${++targets}`)}`];
  const started = lab.spawnAt(host, ...control, 'tgtd', '-f', '-C', '1', '--iscsi', `portal=${address}:${port}`);
  const ask = async (...argv: string[]): Promise<CliResult> =>
    await lab.spawnAt(host, ...control, 'tgtadm', '-C', '1', '--lld', 'iscsi', ...argv).done;
  const must = async (...argv: string[]): Promise<void> => {
    const { code, stderr } = await ask(...argv);
    assert.equal(code, 0, `tgtadm ${argv.join(' ')}: ${stderr}`);
  };
  await untilReady('tgtd', started, async () => (await ask('--op', 'show', '--mode', 'target')).code === 0);
  await must('--op', 'new', '--mode', 'target', '--tid', '1', '--targetname', target);
  await must('--op', 'new', '--mode', 'logicalunit', '--tid', '1', '--lun', '1', '--backing-store', file);
  await must('--op', 'bind', '--mode', 'target', '--tid', '1', '--initiator-address', 'ALL');
  return { source: `iscsi://${address}:${port}/${target}/1`, file, stop: async () => await end(started.child) };
}

async function untilReady(
  what: string,
  { child, done }: { readonly child: ChildProcess; readonly done: Promise<CliResult> },
  isReady: () => Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (!(await isReady())) {
    if (child.exitCode !== null || child.signalCode !== null) {
      const { code, stderr } = await done;
      assert.fail(`${what} ended with ${code}: ${stderr}`);
    }
    assert.ok(performance.now() < deadline, `${what} is not ready after ${START_TIMEOUT_MS} ms`);
    await sleep(POLL_MS);
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  // tgtd takes its time over SIGTERM while sessions are open; its writes are in the page cache either way.
  const timer = setTimeout(() => child.kill('SIGKILL'), 3_000);
  child.kill('SIGTERM');
  await ended;
  clearTimeout(timer);
}
