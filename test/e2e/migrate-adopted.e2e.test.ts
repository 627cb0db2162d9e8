/** A QEMU that somebody started by hand is taken over, and moves like any other. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { guestSpec } from '../../guests/spec.ts';
import type { VmSpecInput } from '../../guests/spec.ts';
import type { VmView } from '../../src/core/model/vm.ts';
import { assertReport } from '../support/report-checks.ts';
import { qemuBinaries, useLab } from '../support/lab-hosts.ts';

const lab = useLab();
const writer = { set: '32M', rate: '5M' };

test('a QEMU started by hand is adopted and moves', async () => {
  const built = guestSpec({ name: 'by-hand', memory: '256M', accelerator: 'tcg', writer });
  const spec: VmSpecInput = { ...built, machine: 'pc-q35-10.0', guestAgent: false };
  const qmp = join(lab.folder, 'by-hand.qmp');
  const console = join(lab.folder, 'by-hand.console');
  const { child, done } = lab.spawnAt(
    'a',
    ...[qemuBinaries['10'], '-nodefaults', '-no-user-config', '-display', 'none', '-cpu', 'max', '-m', '256'],
    ...['-machine', 'pc-q35-10.0,accel=tcg', '-qmp', `unix:${qmp},server=on,wait=off`, '-serial', `file:${console}`],
    ...['-kernel', spec.kernel ?? '', '-initrd', spec.initrd ?? '', '-append', spec.cmdline ?? ''],
  );
  const guest = lab.guest('by-hand');
  while (!existsSync(console) && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(child.exitCode, null, `QEMU runs: ${child.exitCode === null ? '' : (await done).stderr}`);
  guest.follow(console);
  await guest.waitReady();

  const wrong = lab.writeSpec({ ...spec, memory: '512M' });
  const { message, problems } = await lab.refused(4, 'a', 'vm', 'adopt', 'by-hand', '--qmp', qmp, '--spec', wrong);
  assert.match(JSON.stringify([message, problems]), /memory 536870912, the running QEMU has 268435456/);
  assert.deepEqual(await lab.vmStates('a'), []);

  const notIts = ['--qga', lab.socket('a'), '--spec', lab.writeSpec(spec)];
  const refused = await lab.refused(4, 'a', 'vm', 'adopt', 'by-hand', '--qmp', qmp, ...notIts);
  assert.match(refused.message, /agent\.sock is not a socket of its QEMU/);

  const adopted = await lab.ok<VmView>('a', 'vm', 'adopt', 'by-hand', '--qmp', qmp, '--spec', lab.writeSpec(spec));
  assert.deepEqual([adopted.adopted, adopted.state, adopted.pid], [true, 'running', child.pid]);
  await guest.moreWriterLines(3);

  const there = await lab.migrate(guest, 'a', 'b', '--verify');
  assertReport(there.report);
  assert.equal(there.report.verified, true);
  await guest.moreWriterLines(10);
  assert.deepEqual([await lab.vmStates('a'), await lab.vmStates('b')], [[], ['by-hand running']]);
  assert.equal((await done).code, 0, 'the QEMU started by hand was quit, not killed');

  const back = await lab.migrate(guest, 'b', 'a', '--verify');
  assert.equal(back.report.verified, true);
  await guest.moreWriterLines(10);
  guest.assertSound();
  assert.equal((await lab.vms('a'))[0]?.adopted, false, 'what runs now was started by the agent');
});
