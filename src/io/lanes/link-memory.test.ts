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

test('what the kernel says counts for more, be it a measurement or a bound, and is forgotten', () => {
  const memories = new LinkMemories();
  const memory = new LinkMemory(memories.of('b'), 2);
  memory.write({ msPerByte: 16e-6, isMeasured: true }, MINUTE_MS);
  memory.writeDelivered({ msPerByte: 4e-6, isMeasured: false }, MINUTE_MS);
  assert.deepEqual(new LinkMemory(memories.of('b'), 1).read(2 * MINUTE_MS), { msPerByte: 2e-6, isMeasured: false });
  assert.equal(memory.isKnownSlow(2 * MINUTE_MS), false);
  memory.writeDelivered({ msPerByte: 16e-6, isMeasured: true }, 2 * MINUTE_MS);
  assert.deepEqual(memory.delivered(3 * MINUTE_MS), { msPerByte: 16e-6, isMeasured: true });
  assert.equal(memory.isKnownSlow(3 * MINUTE_MS), true);
  assert.equal(memory.delivered(12 * MINUTE_MS), null);
  assert.equal(memory.isKnownSlow(12 * MINUTE_MS), false);
});

test('names without end do not fill the memory', () => {
  const memories = new LinkMemories();
  const first = memories.of('host-0');
  for (let i = 1; i < 3000; i++) memories.of(`host-${i}`);
  assert.notEqual(memories.of('host-0'), first);
});
