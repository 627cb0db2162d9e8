import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isMapped, parseMaps, sharedMappingOf } from './process-maps.ts';

const maps = parseMaps(`55d0c0a00000-55d0c0d00000 r-xp 00300000 fe:00 1835 /usr/bin/qemu system
7f1f13e00000-7f1f53e00000 rw-p 00000000 00:00 0
7f1f53e00000-7f1fd3e00000 rw-p 00000000 00:00 0 [anon: with a name]
7f27a7fff000-7f27b7fff000 rw-s 00001000 00:01 27                         /memfd:memory-backend-memfd (deleted)
7f27b7fff000-7f27b8000000 ---p 00000000 00:00 0
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
`);

test('lines give ranges, rights, file and offset', () => {
  assert.equal(maps.length, 6);
  assert.deepEqual(maps[3], {
    start: 0x7f27a7fff000,
    end: 0x7f27b7fff000,
    readable: true,
    writable: true,
    shared: true,
    fileOffset: 0x1000,
    device: '00:01',
    inode: 27,
    path: '/memfd:memory-backend-memfd (deleted)',
  });
});

test('a range may span neighbouring mappings, but no gap and nothing read-only', () => {
  assert.ok(isMapped(maps, 0x7f1f13e00000, 0xc0000000));
  assert.ok(isMapped(maps, 0x7f1f13e01000, 4096));
  assert.ok(!isMapped(maps, 0x7f1f13e00000, 0xc0001000), 'ends in a gap');
  assert.ok(!isMapped(maps, 0x7f1f13dff000, 4096), 'begins before');
  assert.ok(!isMapped(maps, 0x55d0c0a00000, 4096), 'is code');
  assert.ok(!isMapped(maps, 0x7f27b7ffe000, 8192), 'runs into the guard page');
  assert.ok(!isMapped(maps, 1, 4096), 'is nowhere');
});

test('only a shared file mapping that covers the whole range counts', () => {
  assert.equal(sharedMappingOf(maps, 0x7f27a7fff000, 0x10000000)?.inode, 27);
  assert.equal(sharedMappingOf(maps, 0x7f27a7fff000, 0x10001000), null);
  assert.equal(sharedMappingOf(maps, 0x7f1f13e00000, 4096), null);
});
