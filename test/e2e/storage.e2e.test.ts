/**
 * Disks that two hosts share: an image file, an NBD export, an iSCSI target. The guest writes a checksummed, fsynced log to
 * its disk while it moves there and back; every record that it has said to be synced is there afterwards.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { describe, test } from 'node:test';
import type { GuestOptions } from '../../guests/spec.ts';
import { checkImage, checkInGuest, lastSynced, moreRecords } from '../support/file-log.ts';
import type { LabGuest } from '../support/lab-guest.ts';
import { useLab } from '../support/lab-hosts.ts';
import type { HostName, LabHosts } from '../support/lab-hosts.ts';
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

  test('an NBD export', async (t) => {
    const file = makeLogDisk(lab, 'nbd');
    const server = await startNbd(lab, { host: 'a', file, server: 'qemu-storage-daemon' });
    t.after(async () => await server.stop());
    const last = await thereAndBack(lab, { source: server.source });
    await server.stop();
    checkImage(file, last);
  });

  test('an iSCSI target', async (t) => {
    const file = makeLogDisk(lab, 'iscsi');
    const server = await startIscsi(lab, { host: 'a', file });
    t.after(async () => await server.stop());
    const last = await thereAndBack(lab, { source: server.source });
    await server.stop();
    checkImage(file, last);
  });

  test('disks that the destination cannot open are refused, all at once and by name', async (t) => {
    const onlyAtA = { host: 'a', address: '127.0.0.1' } as const;
    const closedNbd = await startNbd(lab, { ...onlyAtA, file: makeLogDisk(lab, 'closed-nbd') });
    const closedIscsi = await startIscsi(lab, { ...onlyAtA, file: makeLogDisk(lab, 'closed-iscsi') });
    const oneClient = { host: 'a', file: makeLogDisk(lab, 'one-client'), port: 10_810, clients: 1 } as const;
    const takenNbd = await startNbd(lab, oneClient);
    t.after(async () => {
      for (const server of [closedNbd, closedIscsi, takenNbd]) await server.stop();
    });
    const unseen = makeLogDisk(lab, 'unseen/disk');
    await hideFolder(dirname(unseen));
    const good = makeLogDisk(lab, 'good');
    const disks = [closedIscsi.source, takenNbd.source, unseen, good].map((source) => ({ source }));
    const fileLog = { disk: { source: closedNbd.source } };
    const guest = await lab.startGuest('a', { name: 'refused', memory: '256M', fileLog, disks });
    await moreRecords(guest, 5);

    const { problems = [] } = await lab.refused(4, 'a', 'migrate', guest.name, 'b');

    const expected: [string, RegExp][] = [
      [closedNbd.source, /Connection refused/],
      [closedIscsi.source, /./],
      [takenNbd.source, /no answer within \d+ ms/],
      [unseen, /it is not there/],
    ];
    assert.equal(problems.length, expected.length, JSON.stringify(problems));
    for (const [index, [source, why]] of expected.entries()) {
      const { code, message } = problems[index] ?? { code: 'none', message: '' };
      assert.equal(code, 'DISK_UNREACHABLE');
      assert.ok(message.startsWith(`Host "b" cannot open the disk ${source}: `), message);
      assert.match(message, why);
    }
    assert.deepEqual([await lab.vmStates('a'), await lab.vmStates('b')], [['refused running'], []]);
    assert.doesNotMatch(lab.agentLog('b'), /Starting VM "refused"/);
    await moreRecords(guest, 20);
    await checkInGuest(lab, 'a', guest);
    await lab.ok('a', 'vm', 'stop', guest.name, '--force');
  });

  /** Every program that "ip netns exec" starts has its own mount table: an empty folder in this one's place, at `b`. */
  async function hideFolder(folder: string): Promise<void> {
    const agent = String(await lab.agentPid('b'));
    const { status, stderr } = spawnSync('nsenter', ['-m', '-t', agent, 'mount', '-t', 'tmpfs', 'none', folder]);
    assert.equal(status, 0, String(stderr));
  }
});

describe('Shared storage, QEMU 7.2', () => {
  const lab = useLab({ qemu: { a: '7.2', b: '7.2' } });

  test('a raw image file', async () => {
    const file = makeLogDisk(lab, 'raw');
    checkImage(file, await thereAndBack(lab, { source: file }, 20));
  });

  test('an NBD export', async (t) => {
    const file = makeLogDisk(lab, 'nbd');
    const server = await startNbd(lab, { host: 'a', file, qemu: '7.2' });
    t.after(async () => await server.stop());
    const last = await thereAndBack(lab, { source: server.source }, 20);
    await server.stop();
    checkImage(file, last);
  });
});

function convert(argv: readonly string[]): void {
  const { status, stderr } = spawnSync(qemuTool('qemu-img'), ['convert', ...argv], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
}
