import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileCacheBytes, isPruningUnsafe, memoryUse } from './guest-kernel.ts';

test('a kernel that looks at the content of free pages is not pruned', () => {
  for (const cmdline of [
    'page_poison=1',
    'root=/dev/vda debug_pagealloc=on quiet',
    'page_poison',
    'x page_poison=on\n',
  ]) {
    assert.match(isPruningUnsafe(cmdline) ?? '', /free pages/, cmdline);
  }
});

test('a kernel that does not is', () => {
  for (const cmdline of [
    '',
    'page_poison=0',
    'debug_pagealloc=off x',
    'init_on_free=1',
    'my_page_poison=1',
    'x=page_poison',
  ]) {
    assert.equal(isPruningUnsafe(cmdline), null, cmdline);
  }
});

test('what is needed is what is neither free nor droppable', () => {
  const meminfo = [
    'MemTotal:        1000 kB',
    'MemFree:          200 kB',
    'Buffers:           50 kB',
    'Cached:           500 kB',
    'Dirty:             10 kB',
    'Writeback:          0 kB',
    'Mapped:            20 kB',
    'Shmem:             30 kB',
  ].join('\n');
  assert.deepEqual(memoryUse(meminfo), { totalBytes: 1000 * 1024, neededBytes: 310 * 1024, cacheBytes: 490 * 1024 });
  assert.deepEqual(memoryUse('nonsense'), { totalBytes: 0, neededBytes: 0, cacheBytes: 0 });
});

test('the file cache is what the kernel has on its two lists of file pages', () => {
  assert.equal(
    fileCacheBytes('Active(anon): 7 kB\nInactive(anon): 8 kB\nActive(file):   3 kB\nInactive(file):  4 kB\n'),
    7168,
  );
  assert.equal(fileCacheBytes('MemTotal: 9 kB\n'), 0);
});
