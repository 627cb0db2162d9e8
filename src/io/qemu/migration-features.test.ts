import assert from 'node:assert/strict';
import { test } from 'node:test';
import { featuresOf, sourceProblems } from './migration-features.ts';

const capabilities = (...on: string[]) =>
  ['return-path', 'events', 'multifd', 'xbzrle', 'late-block-activate', 'switchover-ack'].map((capability) => ({
    capability,
    state: on.includes(capability),
  }));
const parameters10 = { 'avail-switchover-bandwidth': 0, mode: 'normal', 'max-bandwidth': 134217728 } as const;
const version = (major: number, minor: number) => ({ major, minor, micro: 0 });

test('a feature needs the version and the listing', () => {
  const new10 = featuresOf(version(10, 0), capabilities(), parameters10);
  assert.ok(new10.switchoverAck && new10.availSwitchoverBandwidth && new10.exitOnError && new10.reliableTcgDirtyLog);
  const old = featuresOf(version(7, 2), capabilities(), { 'max-bandwidth': 1 });
  assert.ok(!old.switchoverAck && !old.availSwitchoverBandwidth && !old.exitOnError && !old.reliableTcgDirtyLog);
  const without = capabilities().filter(({ capability }) => capability !== 'switchover-ack');
  assert.ok(!featuresOf(version(10, 0), without, parameters10).switchoverAck);
});

test('a fresh QEMU has no problems', () => {
  assert.deepEqual(sourceProblems({ capabilities: capabilities(), parameters: parameters10, migration: {} }), []);
  const cancelled = { status: 'cancelled' } as const;
  assert.deepEqual(sourceProblems({ capabilities: capabilities(), parameters: {}, migration: cancelled }), []);
});

test('every obstacle is named with what to do', () => {
  const problems = sourceProblems({
    capabilities: capabilities('multifd', 'xbzrle', 'return-path'),
    parameters: { mode: 'cpr-reboot', 'tls-creds': 'tls0' },
    migration: { status: 'active', 'blocked-reasons': ['device x is not migratable'] },
  });
  assert.deepEqual(
    problems.map(({ code }) => code),
    ['QEMU_CAPABILITY', 'QEMU_CAPABILITY', 'QEMU_BLOCKED', 'QEMU_MIGRATING', 'QEMU_PARAMETER', 'QEMU_PARAMETER'],
  );
  assert.match(problems[0]?.message ?? '', /"multifd" is on .* migrate-set-capabilities/);
  assert.match(problems[2]?.message ?? '', /device x is not migratable/);
});
