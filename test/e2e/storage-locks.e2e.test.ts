/**
 * QEMU's locks on an image file that both hosts see: exactly one side holds them at every stage, also when a migration is
 * aborted before, or in the middle of, the switchover.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { before, describe, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkImage, lastSynced, moreRecords } from '../support/file-log.ts';
import {
  assertHolds,
  assertHoldsNothing,
  canBeOpened,
  imageUse,
  isExclusive,
  LockWatch,
  openImage,
  pidOf,
  pidThere,
} from '../support/image-locks.ts';
import type { LabGuest } from '../support/lab-guest.ts';
import { useLab } from '../support/lab-hosts.ts';
import type { HostName, QemuVersion } from '../support/lab-hosts.ts';
import { makeLogDisk, qemuTool } from '../support/storage-servers.ts';

/** `disturbed`: also with accidents in the middle of the switchover. */
const variants: readonly { qemu: QemuVersion; format: 'raw' | 'qcow2'; disturbed: boolean }[] = [
  { qemu: '10', format: 'raw', disturbed: true },
  { qemu: '10', format: 'qcow2', disturbed: false },
  { qemu: '7.2', format: 'raw', disturbed: true },
];
/** Slow enough to look around during pre-copy. */
const SLOW = ['--prune', 'none', '--compress', 'lz', '--max-bandwidth', '4MB/s'];
/** Slow enough to stop the destination's QEMU during pre-copy. */
const BRISK = ['--prune', 'none', '--compress', 'lz', '--max-bandwidth', '20MB/s'];
const COPYING_BYTES = 1_000_000;
const FOREIGN_MS = 1_500;
const LOOK_TIMEOUT_MS = 20_000;

for (const { qemu, format, disturbed } of variants) {
  describe(`Locks of a ${format} image, QEMU ${qemu}`, () => {
    const lab = useLab({ qemu: { a: qemu, b: qemu } });
    let guest: LabGuest;
    let file: string;
    async function watch(t: TestContext, from: HostName, to: HostName): Promise<LockWatch> {
      const source = await pidThere(lab, from, guest.name);
      const watched = new LockWatch(file, source, async () => await pidOf(lab, to, guest.name));
      t.after(async () => await watched.end());
      return watched;
    }

    /** Waits until pre-copy is under way and the incoming QEMU is known; returns the migration and that process. */
    async function untilCopying(watched: LockWatch): Promise<{ id: string; destination: number }> {
      const client = lab.client('a');
      const deadline = performance.now() + LOOK_TIMEOUT_MS;
      try {
        for (;;) {
          const [view] = (await client.call('listMigrations', {})).migrations;
          const { destination } = watched;
          // Pages arrive once the destination's QEMU has read the beginning of its stream.
          if (view?.stage === 'preCopy' && view.wireBytes > COPYING_BYTES && destination !== null) {
            return { id: view.id, destination };
          }
          assert.ok(performance.now() < deadline, `no pre-copy: ${JSON.stringify(view)}`);
          await sleep(20);
        }
      } finally {
        await client.close();
      }
    }

    before(async () => {
      file = makeLogDisk(lab, 'log');
      if (format === 'qcow2') file = convert(file, 'raw', 'qcow2');
      const fileLog = { disk: { source: file, format }, recordsPerS: 20 };
      guest = await lab.startGuest('a', { name: 'locks', memory: '256M', fileLog });
      await moreRecords(guest, 2);
    });

    test('the source holds them before, during pre-copy, and after a cancel', async (t) => {
      const source = await pidThere(lab, 'a', guest.name);
      assertHolds(source, file);
      const watched = await watch(t, 'a', 'b');
      const { done } = lab.startMigrate(guest, 'a', 'b', ...SLOW);
      const { id, destination } = await untilCopying(watched);
      assertHolds(source, file);
      assertHoldsNothing(destination, file);
      assert.equal(canBeOpened(file, format, qemu), false);
      await lab.ok('a', 'cancel', id);
      assert.equal((await done).code, 5);
      const { holders, destinationHadItOpen } = await watched.end();
      assert.deepEqual(holders, ['source']);
      assert.equal(destinationHadItOpen, true);
      assertHolds(source, file);
      assert.deepEqual(await lab.vmStates('b'), []);
      await moreRecords(guest, 5);
    });

    /** A migration whose destination stands still, and another program that took the locks between the two. */
    const takenInTheGap = async (t: TestContext) => {
      const watched = await watch(t, 'a', 'b');
      const { done } = lab.startMigrate(guest, 'a', 'b', ...BRISK);
      const { destination } = await untilCopying(watched);
      process.kill(destination, 'SIGSTOP');
      await watched.free;
      const other = await openImage(file, format, qemu);
      t.after(async () => await other.close());
      return { watched, done, destination, other };
    };

    const onlyDisturbed = disturbed ? test : noTest;

    onlyDisturbed(
      'the source takes them back when the destination is lost in the middle of the switchover',
      async (t) => {
        const source = await pidThere(lab, 'a', guest.name);
        const watched = await watch(t, 'a', 'b');
        const { done } = lab.startMigrate(guest, 'a', 'b', ...BRISK);
        const { destination } = await untilCopying(watched);
        // A QEMU that stands still cannot have loaded its devices: this is certainly before the commit.
        process.kill(destination, 'SIGSTOP');
        await watched.free;
        process.kill(destination, 'SIGKILL');
        const { report } = await done;
        assert.deepEqual([report.outcome, report.guest], ['failed', 'running at source'], lab.agentLogs());
        const { holders, samples } = await watched.end();
        t.diagnostic(`${samples} samples in ${Math.round(report.totalMs)} ms: ${holders.join(', ')}`);
        assert.deepEqual(holders, ['source', 'nobody', 'source']);
        assertHolds(source, file);
        assert.deepEqual(await lab.vmStates('b'), []);
        await moreRecords(guest, 5);
      },
    );

    onlyDisturbed(
      'a program that takes them in the gap of the switchover delays the guest, and does not cost it',
      async (t) => {
        const { watched, done, destination, other } = await takenInTheGap(t);
        process.kill(destination, 'SIGCONT');
        await sleep(FOREIGN_MS);
        assert.equal(isExclusive(imageUse(destination, file)), false);
        await other.close();
        const { report } = await done;
        assert.equal(report.outcome, 'completed', lab.agentLogs());
        assert.match(lab.agentLog('b'), /refused cont: Failed to get .*lock/);
        const { downtimeMs } = report;
        assert.ok((downtimeMs ?? 0) >= FOREIGN_MS, `the delay is part of the downtime: ${downtimeMs} ms`);
        await watched.end();
        assertHolds(destination, file);
        await moreRecords(guest, 5);
        await lab.migrate(guest, 'b', 'a');
      },
    );

    onlyDisturbed(
      'a program that takes them in the gap of a switchover that then fails delays the guest, and does not cost it',
      async (t) => {
        const source = await pidThere(lab, 'a', guest.name);
        const { watched, done, destination, other } = await takenInTheGap(t);
        process.kill(destination, 'SIGKILL');
        await sleep(FOREIGN_MS);
        assert.equal(isExclusive(imageUse(source, file)), false, 'the guest does not run without its locks');
        await other.close();
        const { report } = await done;
        assert.deepEqual([report.outcome, report.guest], ['failed', 'running at source'], lab.agentLogs());
        await watched.end();
        assertHolds(source, file);
        assert.deepEqual(await lab.vmStates('b'), []);
        await moreRecords(guest, 5);
      },
    );

    test('they pass to the destination, and are never held by both', async (t) => {
      const source = await pidThere(lab, 'a', guest.name);
      const watched = await watch(t, 'a', 'b');
      const { report } = await lab.migrate(guest, 'a', 'b');
      const { holders, samples } = await watched.end();
      t.diagnostic(`${samples} samples in ${Math.round(report.totalMs)} ms: ${holders.join(', ')}`);
      assert.deepEqual(
        holders.filter((holder) => holder !== 'nobody'),
        ['source', 'destination'],
      );
      assertHolds(await pidThere(lab, 'b', guest.name), file);
      assertHoldsNothing(source, file);
      assert.equal(canBeOpened(file, format, qemu), false);
      const last = await moreRecords(guest, 5);

      await lab.ok('b', 'vm', 'stop', guest.name, '--force');
      assert.equal(canBeOpened(file, format, qemu), true);
      assert.ok(lastSynced(guest) >= last);
      checkImage(format === 'qcow2' ? convert(file, 'qcow2', 'raw') : file, last);
    });
  });
}

/** In the place of `test` where a variant leaves a test out. */
function noTest(): void {}

function convert(file: string, from: string, to: string): string {
  const converted = file.replace(/\.\w+$/, `.${to}`);
  const argv = ['convert', '-f', from, '-O', to, file, converted];
  const { status, stderr } = spawnSync(qemuTool('qemu-img'), argv, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return converted;
}
