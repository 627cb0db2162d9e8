import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reasonFromLog } from './qemu-log.ts';

test('the reason names the disk and drops the option that QEMU repeats', () => {
  const log = `qemu-system-x86_64: warning: nic has no peer
/opt/qemu/bin/qemu-system-x86_64: -blockdev {"driver":"raw","file":{"filename":"/no/disk"}}: Could not open '/no/disk': No such file or directory`;
  assert.equal(reasonFromLog(log), "Could not open '/no/disk': No such file or directory (-blockdev)");
});

test('other errors are shown as they are', () => {
  assert.equal(
    reasonFromLog('qemu-system-x86_64: failed to initialize kvm: Permission denied'),
    'failed to initialize kvm: Permission denied',
  );
  assert.equal(reasonFromLog('sh: 1: exec: qemu: not found'), 'sh: 1: exec: qemu: not found');
});

test('a log without errors gives no reason', () => {
  assert.equal(reasonFromLog('qemu-system-x86_64: warning: nic has no peer\n'), null);
  assert.equal(reasonFromLog(''), null);
});
