/**
 * Failures in the pull phase: the guest runs at the destination, and some of its pages are still at the source. Whatever is
 * lost but one of the two QEMUs, the guest goes on as soon as both agents reach each other again, and misses nothing.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { labCutLink } from '../../src/app/lab/lab.ts';
import { useScene } from '../support/failure-scene.ts';
import type { Attempt, FailureScene } from '../support/failure-scene.ts';
import { qemuPids, runState, until } from '../support/outside-view.ts';

const pull = ['--strategy', 'postcopy', '--stall-timeout', '2s', '--max-bandwidth', '50mbit'];
/** The writer checks each of its pages once in ten seconds. */
const ALL_CHECKED_LINES = 110;

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

  test("the destination's agent is killed and started again", async () => {
    await scene.ready();
    const attempt = await pulling(scene);
    const pulledBefore = count(scene, /Destination is pulling/g);
    scene.signalAgent('there', 'SIGKILL');
    await sleep(1000);
    await scene.restartAgent('there');
    await assertMovedWhole(scene, attempt);
    assert.ok(
      count(scene, /Destination is pulling/g, scene.here) > pulledBefore,
      'it went on pulling after its restart',
    );
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

  test('both agents are killed and started again', async () => {
    await scene.ready();
    const attempt = await pulling(scene);
    scene.signalAgent('here', 'SIGKILL');
    scene.signalAgent('there', 'SIGKILL');
    scene.assertSaid(await attempt.done, 8, /vmferry show/);
    await scene.restartAgent('there');
    await scene.restartAgent('here');
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

function count(scene: FailureScene, what: RegExp, host = scene.there): number {
  return scene.lab.agentLog(host).match(what)?.length ?? 0;
}

async function assertMovedWhole(scene: FailureScene, attempt: Attempt): Promise<void> {
  const result = await attempt.done;
  await scene.assertMoved(result);
  await scene.guest.moreWriterLines(ALL_CHECKED_LINES);
  scene.guest.assertSound();
}
