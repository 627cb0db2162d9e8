/**
 * Failures around and after the commit. Once COMMIT is in the source's journal the guest runs at the destination and
 * nowhere else, whoever dies; before, at the source. At no time do two QEMUs run it: the guest's own clock would tell.
 *
 * To fail exactly at the commit the source's QEMU is stopped by a signal while the source waits for its end, see
 * `freezeBeforeCommit`.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { labCutLink } from '../../src/app/lab/lab.ts';
import { useScene } from '../support/failure-scene.ts';
import type { FailureScene } from '../support/failure-scene.ts';
import { qemuPids, runState, until } from '../support/outside-view.ts';

/** Hosts stand still here for as long as a busy machine takes to look at them. */
const patient = ['--stall-timeout', '60s'];

describe('around the commit', () => {
  const scene = useScene();

  test('the agent of the destination dies prepared, without a commit: the guest goes on at the source', async () => {
    await scene.ready();
    const attempt = scene.attempt(...patient);
    const goOn = await scene.freezeBeforeCommit(attempt);
    assert.ok(scene.recorded('there').includes('prepared'));
    scene.signalAgent('there', 'SIGKILL');
    await attempt.sourceIs('aborting');
    goOn();
    scene.assertSaid(await attempt.done, 6, /could not be moved: .*(closed the connection|its agent ended)/s);
    scene.assertNotRecorded('here', 'commit');
    await scene.restartAgent('there');
    await scene.assertStayed();
    await scene.assertMovesNow();
  });

  test('the agent of the source dies prepared, without a commit: the guest goes on at the source', async () => {
    await scene.ready();
    const attempt = scene.attempt(...patient);
    const goOn = await scene.freezeBeforeCommit(attempt);
    scene.signalAgent('here', 'SIGKILL');
    scene.assertSaid(await attempt.done, 8, /vmferry show/);
    goOn();
    scene.signalIfThere('SIGCONT');
    await attempt.destinationIs('inDoubt');
    assert.equal(await runState(scene.lab, scene.there, scene.guest.name), 'paused');
    await scene.restartAgent('here');
    await scene.assertStayed();
    await scene.assertMovesNow();
  });

  test('the agent of the source dies right after the commit: the guest runs at the destination only', async () => {
    await scene.ready();
    const attempt = await committedUnheard(scene);
    scene.signalAgent('here', 'SIGKILL');
    scene.assertSaid(await attempt.done, 8, /vmferry show/);
    await scene.assertNobodyRuns();
    scene.signalIfThere('SIGCONT');
    assert.notEqual(await runState(scene.lab, scene.here, scene.guest.name), 'running');
    await scene.restartAgent('here');
    await scene.assertMoved(await attempt.done);
    await scene.assertMovesNow();
  });

  test('COMMIT is lost with the link and the agent of the source: in doubt, nobody runs until it is told', async () => {
    await scene.ready();
    const attempt = scene.attempt(...patient);
    const goOn = await scene.freezeBeforeCommit(attempt);
    await labCutLink(true, scene.lab.name);
    scene.signalIfThere('SIGCONT');
    goOn();
    await scene.untilRecorded('here', 'commit');
    scene.signalAgent('here', 'SIGKILL');
    scene.assertSaid(await attempt.done, 8, /vmferry show/);
    dropConnections(scene);
    await attempt.destinationIs('inDoubt');
    await labCutLink(false, scene.lab.name);
    assert.equal(await runState(scene.lab, scene.here, scene.guest.name), 'postmigrate');
    await scene.assertNobodyRuns();
    await scene.restartAgent('here');
    await scene.assertMoved(await attempt.done);
  });

  test('the agent of the destination dies before it hears of the commit: it runs there after its restart', async () => {
    await scene.ready();
    const attempt = await committedUnheard(scene);
    scene.signalAgent('there', 'SIGKILL');
    await scene.assertNobodyRuns();
    await scene.restartAgent('there');
    const result = await attempt.done;
    assert.equal(result.code, 0, result.stderr);
    await scene.assertMoved(result);
  });

  test('the agent of the destination dies when it has heard of the commit: it runs there, once', async () => {
    await scene.ready();
    const attempt = scene.attempt(...patient);
    await scene.untilRecorded('there', 'committed');
    scene.signalAgent('there', 'SIGKILL');
    assert.notEqual(await runState(scene.lab, scene.here, scene.guest.name), 'running');
    await scene.restartAgent('there');
    const result = await attempt.done;
    assert.equal(result.code, 0, result.stderr);
    await scene.assertMoved(result);
  });

  test('the agent of the destination dies before it hears that the source is done: the guest can move on', async () => {
    await scene.ready();
    const attempt = await committedUnheard(scene);
    const [qemu] = qemuPids(scene.lab, scene.here);
    assert.ok(qemu !== undefined);
    // A QEMU that does not quit keeps the source from being done for some seconds.
    process.kill(qemu, 'SIGSTOP');
    scene.signalIfThere('SIGCONT');
    await attempt.sourceIs('quitting');
    scene.signalAgent('there', 'SIGKILL');
    const result = await attempt.done;
    assert.equal(result.code, 0, result.stderr);
    await scene.restartAgent('there');
    await scene.assertMoved(result);
    await until('the migration has ended there', () => scene.recorded('here').includes('released'));
    await scene.assertMovesNow();
  });

  test('both agents die right after the commit: it runs at the destination after their restart', async () => {
    await scene.ready();
    const attempt = await committedUnheard(scene);
    scene.signalAgent('here', 'SIGKILL');
    scene.signalAgent('there', 'SIGKILL');
    scene.assertSaid(await attempt.done, 8, /vmferry show/);
    await scene.assertNobodyRuns();
    await scene.restartAgent('there');
    await scene.assertNobodyRuns();
    await scene.restartAgent('here');
    await scene.assertMoved(await attempt.done);
  });

  test('the agent of the source is stopped in good order after the commit: it finishes first', async () => {
    await scene.ready();
    const attempt = await committedUnheard(scene);
    scene.signalAgent('here', 'SIGTERM');
    scene.signalIfThere('SIGCONT');
    const result = await attempt.done;
    assert.equal(result.code, 0, result.stderr);
    await scene.repair();
    await scene.assertMoved(result);
  });

  test('a cancel after the commit is refused, and the guest is moved', async () => {
    await scene.ready();
    const attempt = await committedUnheard(scene);
    const { migrations } = await scene.lab.ok<{ migrations: { id: string }[] }>(scene.here, 'status');
    const cancelled = await scene.lab.cli(scene.here, 'cancel', migrations[0]?.id ?? 'none');
    assert.equal(cancelled.code, 4, cancelled.stderr);
    scene.signalIfThere('SIGCONT');
    const result = await attempt.done;
    assert.equal(result.code, 0, result.stderr);
    await scene.assertMoved(result);
  });
});

/** COMMIT is on the source's disk; the destination's agent stands still and has not heard of it. */
async function committedUnheard(scene: FailureScene): Promise<ReturnType<FailureScene['attempt']>> {
  const attempt = scene.attempt(...patient);
  const goOn = await scene.freezeBeforeCommit(attempt);
  goOn();
  await scene.untilRecorded('here', 'commit');
  await until('the source QEMU has ended its migration', async () => {
    const state = await runState(scene.lab, scene.here, scene.guest.name);
    assert.notEqual(state, 'running');
    return state === 'postmigrate';
  });
  return attempt;
}

/** The destination's connections break off while no packet passes: what the source's kernel still sends finds nobody. */
function dropConnections({ lab, there }: FailureScene): void {
  const argv = [
    'netns',
    'exec',
    `vmferry-${lab.name}-${there}`,
    'ss',
    '-K',
    'state',
    'established',
    'sport',
    '=',
    ':7443',
  ];
  execFileSync('ip', argv, { stdio: 'ignore' });
}
