import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { CpuGroup, findCpuHierarchy, groupPathOf, quotaText } from './cpu-group.ts';

const first = `tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpuset cgroup rw,relatime,cpuset 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
`;
const second = 'proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nsdelegate 0 0\n';

test('the hierarchy that has the controller is found, of both versions', () => {
  assert.deepEqual(
    findCpuHierarchy(first, () => 'hugetlb'),
    { version: 1, root: '/sys/fs/cgroup/cpu,cpuacct' },
  );
  assert.deepEqual(
    findCpuHierarchy(second, () => 'cpuset cpu io\n'),
    { version: 2, root: '/sys/fs/cgroup' },
  );
  assert.equal(
    findCpuHierarchy(second, () => 'cpuset io'),
    null,
    'cpuset is not cpu',
  );
  assert.equal(findCpuHierarchy('proc /proc proc rw 0 0\n'), null);
});

test('the group of a process is that of its own hierarchy', () => {
  const text = '8:pids:/p\n4:memory:/m\n3:cpuset:/s\n1:cpu,cpuacct:/user.slice/a:b\n0::/two\n';
  assert.equal(groupPathOf(text, 1), '/user.slice/a:b');
  assert.equal(groupPathOf(text, 2), '/two');
  assert.equal(groupPathOf('0::/two\n', 1), null);
  assert.equal(groupPathOf('', 2), null);
});

test('a cap is a quota of a period of 100 ms', () => {
  assert.equal(quotaText(1, 25), '25000');
  assert.equal(quotaText(1, null), '-1');
  assert.equal(quotaText(2, 175), '175000 100000');
  assert.equal(quotaText(2, null), 'max 100000');
  assert.throws(() => quotaText(1, 0), { code: 'CPU_GROUP' });
  assert.throws(() => quotaText(2, NaN), { code: 'CPU_GROUP' });
});

test('where no group can be made, it is said what is needed', async () => {
  await assert.rejects(CpuGroup.create('x', null), { code: 'CPU_GROUP', message: /need root and a writable cgroup/ });
  const folder = mkdtempSync(join(tmpdir(), 'group-'));
  try {
    // A folder that is no hierarchy: the kernel makes no files in a new group, so none can be written.
    const nowhere = CpuGroup.create('x', { version: 1, root: folder });
    await assert.rejects(nowhere, { code: 'CPU_GROUP', message: /cannot be made .*cpu\.cfs_period_us.*need root/ });
    await assert.rejects(CpuGroup.create('x', { version: 2, root: folder }), { message: /cgroup\.subtree_control/ });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('version 2 hands the controller down where that was not done', async () => {
  const root = mkdtempSync(join(tmpdir(), 'group-'));
  try {
    const control = join(root, 'cgroup.subtree_control');
    writeFileSync(control, '');
    mkdirSync(join(root, 'other'));
    await assert.rejects(CpuGroup.create('x', { version: 2, root }), { message: /cpu\.max/ });
    assert.equal(readFileSync(control, 'utf8'), '+cpu');
    writeFileSync(control, 'cpuset cpu io');
    await assert.rejects(CpuGroup.create('x', { version: 2, root }), { message: /cpu\.max/ });
    assert.equal(readFileSync(control, 'utf8'), 'cpuset cpu io');
  } finally {
    rmSync(root, { recursive: true });
  }
});
