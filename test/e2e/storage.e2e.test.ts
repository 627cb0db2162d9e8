/**
 * Disks that two hosts share: an image file, an NBD export, an iSCSI target. The guest writes a checksummed, fsynced log to
 * its disk while it moves there and back; every record that it has said to be synced is there afterwards.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { guestSpec } from '../../guests/spec.ts';
import type { GuestOptions } from '../../guests/spec.ts';
import { checkImage, checkInGuest, lastSynced, moreRecords } from '../support/file-log.ts';
import type { LabGuest } from '../support/lab-guest.ts';
import { useLab } from '../support/lab-hosts.ts';
import type { CliFailure, HostName, LabHosts } from '../support/lab-hosts.ts';
import { makeLogDisk, qemuTool, startIscsi, startNbd } from '../support/storage-servers.ts';

type Disk = NonNullable<GuestOptions['fileLog']>['disk'];

/**
 * QEMU before 9.0 loses writes to memory under software emulation, whoever migrates; what it lost would damage the log.
 * There the memory is compared, and a migration that found a difference, and left the guest where it was, is tried again.
 */
const ATTEMPTS_MAX = 8;

async function move(lab: LabHosts, guest: LabGuest, [from, to]: readonly [HostName, HostName]): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const result = await lab.tryMigrate(guest, from, to, '--verify');
    if (result.code === 0) return;
    const said = `${result.stdout}${result.stderr}\n${lab.agentLogs()}`;
    assert.ok(result.report.code === 'FERRY_VERIFY' && attempt < ATTEMPTS_MAX, said);
    assert.equal(result.report.guest, 'running at source');
  }
}

/** There and back under load, the log read at each end; leaves the machine stopped. Returns the last synced record. */
async function thereAndBack(lab: LabHosts, disk: Disk, recordsPerS = 100): Promise<number> {
  const guest = await lab.startGuest('a', { name: 'log', memory: '256M', fileLog: { disk, recordsPerS } });
  await moreRecords(guest, 20);
  for (const way of [['a', 'b'] as const, ['b', 'a'] as const]) {
    const before = lastSynced(guest);
    await move(lab, guest, way);
    assert.ok(lastSynced(guest) >= before, 'the log went on during the move');
    await moreRecords(guest, 20);
    await checkInGuest(lab, way[1], guest);
  }
  const last = await moreRecords(guest, 5);
  await lab.ok('a', 'vm', 'stop', guest.name, '--force');
  return last;
}

describe('Shared storage, QEMU 10', () => {
  const lab = useLab();

  test('a raw image file', async () => {
    const file = makeLogDisk(lab, 'raw');
    checkImage(file, await thereAndBack(lab, { source: file }));
  });

  test('a qcow2 image file', async () => {
    const raw = makeLogDisk(lab, 'qcow2');
    const file = raw.replace(/raw$/, 'qcow2');
    convert(['-f', 'raw', '-O', 'qcow2', raw, file]);
    const last = await thereAndBack(lab, { source: file, format: 'qcow2' });
    const checked = spawnSync(qemuTool('qemu-img'), ['check', '-f', 'qcow2', file], { encoding: 'utf8' });
    assert.equal(checked.status, 0, `${checked.stdout}${checked.stderr}`);
    convert(['-f', 'qcow2', '-O', 'raw', file, raw]);
    checkImage(raw, last);
  });

  test('an NBD export', async () => {
    const file = makeLogDisk(lab, 'nbd');
    const server = await startNbd(lab, { host: 'a', file, server: 'qemu-storage-daemon' });
    const last = await thereAndBack(lab, { source: server.source });
    await server.stop();
    checkImage(file, last);
  });

  test('an iSCSI target', async () => {
    const file = makeLogDisk(lab, 'iscsi');
    const server = await startIscsi(lab, { host: 'a', file });
    const last = await thereAndBack(lab, { source: server.source });
    await server.stop();
    checkImage(file, last);
  });

  /** Refused before anything happens: the guest goes on at `a`, and `b` has never heard of it. */
  async function assertRefused(options: GuestOptions, source: string): Promise<string> {
    const guest = await lab.startSpec('a', guestSpec({ accelerator: 'tcg', ...options }));
    await moreRecords(guest, 5);
    const { code, stdout, json } = await lab.tryMigrate(guest, 'a', 'b');
    const error = (json as Partial<CliFailure> | null)?.error;
    assert.equal(code, 4, stdout);
    const problems = error?.problems ?? [];
    assert.deepEqual(
      problems.map((problem) => problem.code),
      ['DISK_UNREACHABLE'],
    );
    const message = problems[0]?.message ?? '';
    assert.ok(message.startsWith(`Host "b" cannot open the disk ${source}: `), message);
    assert.deepEqual([await lab.vmStates('a'), await lab.vmStates('b')], [[`${options.name} running`], []]);
    assert.doesNotMatch(lab.agentLog('b'), new RegExp(`Starting VM "${options.name}"`));
    await moreRecords(guest, 20);
    await checkInGuest(lab, 'a', guest);
    await lab.ok('a', 'vm', 'stop', guest.name, '--force');
    return message;
  }

  test('an NBD export that only the source reaches is refused', async () => {
    const address = '127.0.0.1';
    const server = await startNbd(lab, { host: 'a', file: makeLogDisk(lab, 'closed'), address });
    const options = { name: 'closed', memory: '256M', fileLog: { disk: { source: server.source } } };
    assert.match(await assertRefused(options, server.source), /Connection refused/);
    await server.stop();
  });

  test('an iSCSI target that only the source reaches is refused', async () => {
    const address = '127.0.0.1';
    const server = await startIscsi(lab, { host: 'a', file: makeLogDisk(lab, 'closed-iscsi'), address });
    const options = { name: 'closed-iscsi', memory: '256M', fileLog: { disk: { source: server.source } } };
    await assertRefused(options, server.source);
    await server.stop();
  });

  test('an NBD export that admits one client only is refused', async () => {
    const server = await startNbd(lab, { host: 'a', file: makeLogDisk(lab, 'one-client'), port: 10_810, clients: 1 });
    const options = { name: 'one-client', memory: '256M', fileLog: { disk: { source: server.source } } };
    assert.match(await assertRefused(options, server.source), /no answer within/);
    await server.stop();
  });

  test('an image file that the destination does not see is refused', async () => {
    const file = makeLogDisk(lab, 'unseen');
    // Every program that "ip netns exec" starts has its own mount table: an empty folder in the place of the images.
    const mount = ['-m', '-t', String(await lab.agentPid('b')), 'mount', '-t', 'tmpfs', 'none', `${lab.folder}/disks`];
    assert.equal(spawnSync('nsenter', mount).status, 0);
    const options = { name: 'unseen', memory: '256M', fileLog: { disk: { source: file } } };
    assert.match(await assertRefused(options, file), /not there/);
  });
});

describe('Shared storage, QEMU 7.2', () => {
  const lab = useLab({ qemu: { a: '7.2', b: '7.2' } });

  test('a raw image file', async () => {
    const file = makeLogDisk(lab, 'raw');
    checkImage(file, await thereAndBack(lab, { source: file }, 20));
  });

  test('an NBD export', async () => {
    const file = makeLogDisk(lab, 'nbd');
    const server = await startNbd(lab, { host: 'a', file, qemu: '7.2' });
    const last = await thereAndBack(lab, { source: server.source }, 20);
    await server.stop();
    checkImage(file, last);
  });
});

function convert(argv: readonly string[]): void {
  const { status, stderr } = spawnSync(qemuTool('qemu-img'), ['convert', ...argv], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
}
