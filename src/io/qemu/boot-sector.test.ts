import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BOOT_SECTOR_TEXT, EXIT_CODE_OF_SUCCESS, bootDisk } from './boot-sector.ts';

test('the disk begins with a bootable sector that holds its text', () => {
  const disk = bootDisk();
  assert.deepEqual([...disk.subarray(510, 512)], [0x55, 0xaa]);
  assert.ok(disk.subarray(0, 510).includes(BOOT_SECTOR_TEXT.slice(0, -1)));
  assert.equal(EXIT_CODE_OF_SUCCESS, 33);
});
