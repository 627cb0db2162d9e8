import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LinkMemories, LinkMemory } from './link-memory.ts';

const MINUTE_MS = 60_000;

test('what one migration found out the next one knows, whatever its number of lanes', () => {
  const memories = new LinkMemories();
  const first = new LinkMemory(memories.of('b'), 2);
  assert.equal(first.read(0), null);
  first.write({ msPerByte: 16e-6, isMeasured: true }, 1000 * MINUTE_MS);
  const next = new LinkMemory(memories.of('b'), 1);
  assert.deepEqual(next.read(1001 * MINUTE_MS), { msPerByte: 8e-6, isMeasured: true });
  assert.equal(new LinkMemory(memories.of('c'), 1).read(0), null, 'another host is another link');
});

test('an old measurement is only a bound, and a bound never was more', () => {
  const shared = new LinkMemories().of('b');
  const memory = new LinkMemory(shared, 1);
  memory.write({ msPerByte: 8e-6, isMeasured: true }, 1000 * MINUTE_MS);
  assert.equal(memory.read(1011 * MINUTE_MS)?.isMeasured, false);
  memory.write({ msPerByte: 4e-6, isMeasured: false }, 1012 * MINUTE_MS);
  assert.deepEqual(memory.read(1012 * MINUTE_MS), { msPerByte: 4e-6, isMeasured: false });
});

test('names without end do not fill the memory', () => {
  const memories = new LinkMemories();
  const first = memories.of('host-0');
  for (let i = 1; i < 3000; i++) memories.of(`host-${i}`);
  assert.notEqual(memories.of('host-0'), first);
});
