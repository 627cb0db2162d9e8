/**
 * Failures in the pull phase: the guest runs at the destination, and some of its pages are still at the source. Whatever is
 * lost but one of the two QEMUs, the guest goes on as soon as both agents reach each other again, and misses nothing.
 */
import assert from 'node:assert/strict';
import { realpathSync } from 'node:fs';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { moreRecords } from '../support/file-log.ts';
import { assertHolds, assertHoldsNothing } from '../support/image-locks.ts';
import { makeLogDisk } from '../support/storage-servers.ts';
import { labCutLink } from '../../src/app/lab/lab.ts';
import { useScene } from '../support/failure-scene.ts';
import type { MigrationReport, MigrationView } from '../../src/core/model/migration.ts';
import type { Attempt, FailureScene } from '../support/failure-scene.ts';
import { qemuPids, runState, until } from '../support/outside-view.ts';

const pull = ['--strategy', 'postcopy', '--stall-timeout', '2s', '--max-bandwidth', '50mbit'];
/** Of one agent in one pull phase. */
const KILLS = Number(process.env['VMFERRY_KILLS'] ?? 3);
/** The writer checks each of its pages once in ten seconds. */
const ALL_CHECKED_LINES = 110;

describe('before the commit', () => {
  let file = '';
  const scene = useScene({}, (lab) => {
    file = realpathSync(makeLogDisk(lab, 'log'));
    return { fileLog: { disk: { source: file, format: 'raw' }, recordsPerS: 20 } };
  });

  test('a prepared destination holds no disk; after a cancel the guest goes on at the source with its own', async () => {
    await scene.ready();
    const attempt = scene.attempt('--strategy', 'postcopy', '--stall-timeout', '60s');
    const goOn = await scene.freezeBeforeCommit(attempt);
    assert.ok(scene.recorded('there').includes('prepared'));
    assert.equal(await runState(scene.lab, scene.there, scene.guest.name), 'paused');
    const [destination = 0] = qemuPids(scene.lab, scene.there);
    assertHoldsNothing(destination, file);
    const { migrations } = await scene.lab.ok<{ migrations: { id: string }[] }>(scene.here, 'status');
    await scene.lab.ok(scene.here, 'cancel', migrations[0]?.id ?? 'none');
    goOn();
    scene.signalIfThere('SIGCONT');
    assert.equal((await attempt.done).report.guest, 'running at source');
    await scene.assertStayed();
    assertHolds(qemuPids(scene.lab, scene.here)[0] ?? 0, file);
    await moreRecords(scene.guest, 5);
  });

  test('the disk passes to the destination with the commit, while pages are still missing', async () => {
    await scene.ready();
    const attempt = await pulling(scene);
    const [source = 0] = qemuPids(scene.lab, scene.here);
    assertHoldsNothing(source, file);
    assertHolds(qemuPids(scene.lab, scene.there)[0] ?? 0, file);
    await assertMovedWhole(scene, attempt);
    await moreRecords(scene.guest, 5);
  });

  test("the destination's QEMU is killed during pre-copy", async () => {
    await scene.ready();
    const attempt = scene.attempt('--strategy', 'dsm', '--pull');
    await attempt.preCopy();
    for (const pid of qemuPids(scene.lab, scene.there)) process.kill(pid, 'SIGKILL');
    scene.assertSaid(await attempt.done, 6, /could not be moved: .*QEMU/s);
    await scene.assertStayed();
  });
});

describe('in the pull phase of a guest that writes hard', () => {
  const scene = useScene({}, () => ({ writer: { set: '64M', rate: '40M', pattern: 'random' } }));

  /** A guest's CPU that waits for a page may hold QEMU's lock: the new agent has to do without QEMU's main loop. */
  for (const restMs of [0, 1500]) {
    test(`the destination's agent is killed again and again, ${restMs} ms after it pulls`, async (t) => {
      await scene.ready();
      const attempt = await pulling(scene);
      for (let kill = 1; kill <= KILLS; kill++) {
        const seenBefore = scene.lab.agentLog(scene.there).length;
        scene.signalAgent('there', 'SIGKILL');
        await sleep(1000);
        const state = await runState(scene.lab, scene.there, scene.guest.name).catch(() => 'silent');
        await scene.restartAgent('there');
        const said = (): string => scene.lab.agentLog(scene.there).slice(seenBefore);
        const missing = await until('pages flow again', () => /"missingPages":(\d+)/.exec(said())?.[1]);
        t.diagnostic(`kill ${kill}: QEMU was ${state}, ${missing} pages are missing`);
        assert.doesNotMatch(said(), /stands still/);
        await sleep(restMs);
      }
      await assertMovedWhole(scene, attempt);
      await scene.assertMovesNow();
    });
  }
});

describe('in the pull phase', () => {
  const scene = useScene();

  test('the link is cut and joined again: the guest goes on pulling', async () => {
    await scene.ready();
    const attempt = await pulling(scene);
    await labCutLink(true, scene.lab.name);
    await sleep(4000);
    assert.notEqual(await runState(scene.lab, scene.here, scene.guest.name), 'running');
    await labCutLink(false, scene.lab.name);
    await assertMovedWhole(scene, attempt);
    await scene.assertMovesNow();
  });

  test("the destination's agent is killed before it heard of the commit", async () => {
    await scene.ready();
    const attempt = scene.attempt(...pull, '--stall-timeout', '60s');
    const goOn = await scene.freezeBeforeCommit(attempt);
    goOn();
    await scene.untilRecorded('here', 'commit');
    assert.ok(!scene.recorded('there').includes('committed'));
    scene.signalAgent('there', 'SIGKILL');
    await sleep(1000);
    await scene.restartAgent('there');
    await attempt.sourceIs('serving');
    await assertMovedWhole(scene, attempt);
    await scene.assertMovesNow();
  });

  test("the source's agent is killed and started again", async () => {
    await scene.ready();
    const attempt = await pulling(scene);
    scene.signalAgent('here', 'SIGKILL');
    scene.assertSaid(await attempt.done, 8, /vmferry show/);
    await sleep(1000);
    await scene.restartAgent('here');
    await assertMovedWhole(scene, attempt);
  });

  test("the destination's agent is stopped in good order: it pulls the rest first", async () => {
    await scene.ready();
    const attempt = await pulling(scene);
    scene.signalAgent('there', 'SIGTERM');
    const result = await attempt.done;
    assert.equal(result.code, 0, result.stderr);
    await scene.repair();
    await assertMovedWhole(scene, attempt);
  });

  test('the QEMU of the source is killed: the report says that pages are lost, and how many', async () => {
    await scene.ready();
    const attempt = await pulling(scene);
    for (const pid of qemuPids(scene.lab, scene.here)) process.kill(pid, 'SIGKILL');
    const { code, report, stderr } = await attempt.done;
    assert.notEqual(code, 0);
    assert.deepEqual([report.outcome, report.guest, report.code], ['failed', 'lost', 'FERRY_PAGES_LOST']);
    assert.match(report.reason, /ended while host "[ab]" still pulled: [1-9]\d* of its pages are lost/);
    assert.match(stderr, /vm stop g\d+ --force/);
    assert.deepEqual(await scene.vmStates(scene.here), []);
    await scene.lab.ok(scene.there, 'vm', 'stop', scene.guest.name, '--force');
  });

  test('the whole source is lost and its agent comes back: both hosts say that pages are lost', async () => {
    await scene.ready();
    const attempt = await pulling(scene);
    const id = await loseSource(scene, attempt);
    await scene.restartAgent('here');
    await assertLostReport(scene, id);
    const shown = await until('the source reports', async () => {
      const { stdout } = await scene.lab.cli(scene.here, 'show', id, '--json');
      const answer = JSON.parse(stdout) as { outcome: string | null; guest?: string; code?: string };
      return answer.outcome === null ? null : answer;
    });
    assert.deepEqual([shown.outcome, shown.guest, shown.code], ['failed', 'lost', 'FERRY_PAGES_LOST']);
    await scene.lab.ok(scene.there, 'vm', 'stop', scene.guest.name, '--force');
  });

  test('the whole source is lost for good: status names it, and a person gives the guest up', async (t) => {
    await scene.ready();
    const { lab, there, guest, here } = scene;
    const attempt = await pulling(scene);
    const ofGuest = async (): Promise<MigrationView | undefined> => {
      const { migrations } = await lab.ok<{ migrations: MigrationView[] }>(there, 'status');
      return migrations.find((each) => each.vm === guest.name);
    };
    const id = (await ofGuest())?.id ?? 'none';
    const early = await lab.refused(4, there, 'resolve', id, 'discard');
    assert.match(early.message, /is connected: nothing is to be given up/);
    await loseSource(scene, attempt);
    const view = await until('the destination misses it', async () => {
      const found = await ofGuest();
      return found?.reason?.includes(`needs host "${here}"`) === true ? found : null;
    });
    t.diagnostic(view.reason ?? '');
    assert.match(
      view.reason ?? '',
      /[1-9]\d* of its pages are there \(.*[1-9]\d* pages in GiB 0\).*resolve \S+ discard/,
    );
    assert.equal(view.directory?.missing, view.pagesPending);
    assert.match((await lab.refused(4, there, 'resolve', id, 'run')).message, /"discard" is the only word/);
    const tooEarly = await lab.refused(4, there, 'resolve', id, 'discard');
    assert.match(tooEarly.message, /silent for [\d.]+ m?s only: it may come back/);
    await sleep(10_000);
    await lab.ok(there, 'resolve', id, 'discard');
    await assertLostReport(scene, id);
    await lab.ok(there, 'vm', 'stop', guest.name, '--force');
    scene.signalAgent('there', 'SIGKILL');
    await scene.restartAgent('there');
    const known = await until('a new agent shows it', async () => await ofGuest());
    assert.match(known.reason ?? '', /was lost there.*resolve \S+ discard/);
    await lab.ok(there, 'resolve', id, 'discard');
    await until('it is forgotten', async () => (await ofGuest()) === undefined);
    assert.ok((await lab.history(there)).some((report) => report.id === id && report.guest === 'lost'));
  });

  test('the QEMU of the destination is killed: the source is told that the guest is gone', async () => {
    await scene.ready();
    const attempt = await pulling(scene);
    for (const pid of qemuPids(scene.lab, scene.there)) process.kill(pid, 'SIGKILL');
    const { report } = await attempt.done;
    assert.deepEqual([report.outcome, report.guest], ['failed', 'in doubt']);
    assert.match(report.reason, /destination lost the guest after the commit/);
    assert.equal(qemuPids(scene.lab, scene.here).length, 1, 'its memory is kept until a person has decided');
    await scene.lab.ok(scene.here, 'resolve', report.id, 'discard');
    await until('the source has let it go', () => qemuPids(scene.lab, scene.here).length === 0);
  });
});

/** The guest runs at the destination and pulls, slowly enough to interfere. */
async function pulling(scene: FailureScene): Promise<Attempt> {
  const attempt = scene.attempt(...pull);
  await attempt.sourceIs('serving');
  await attempt.destinationIs('pulling');
  return attempt;
}

/** Kills agent and QEMU of the source; returns the migration's id. */
async function loseSource(scene: FailureScene, attempt: Attempt): Promise<string> {
  const { lab, here, there } = scene;
  const qemus = qemuPids(lab, here);
  const { migrations } = await lab.ok<{ migrations: { id: string }[] }>(there, 'status');
  scene.signalAgent('here', 'SIGKILL');
  for (const pid of qemus) process.kill(pid, 'SIGKILL');
  scene.assertSaid(await attempt.done, 8, /vmferry show/);
  return migrations[0]?.id ?? assert.fail('the destination lists what it pulls');
}

/** What the destination says of a guest whose other pages will never come. */
async function assertLostReport(scene: FailureScene, id: string): Promise<void> {
  const { lab, there } = scene;
  const report = await until('the destination reports', async () => {
    const { stdout } = await lab.cli(there, 'show', id, '--json');
    const answer = JSON.parse(stdout) as MigrationReport | { stage: string };
    return 'guest' in answer ? answer : null;
  });
  assert.deepEqual([report.outcome, report.guest, report.code], ['failed', 'lost', 'FERRY_PAGES_LOST']);
  const lost = Number(/([1-9]\d*) pages of VM "g\d+" never came \(.*pages in GiB 0/.exec(report.reason)?.[1] ?? 0);
  assert.ok(lost > 0 && lost < report.pages.total, report.reason);
  assert.ok((report.pages.pulled ?? -1) >= 0);
}

async function assertMovedWhole(scene: FailureScene, attempt: Attempt): Promise<void> {
  const result = await attempt.done;
  await scene.assertMoved(result);
  await scene.guest.moreWriterLines(ALL_CHECKED_LINES);
  scene.guest.assertSound();
}
