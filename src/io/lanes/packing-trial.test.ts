import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tryPacking, type TrialConditions } from './packing-trial.ts';

const PAGE = 4096;
const never = new AbortController().signal;
const conditions: TrialConditions = {
  ...{ compress: 'adaptive', lanes: 1, maxBandwidthBytesPerSecond: null, laneShare: 1 },
  ...{ linkMsPerByte: 8e-5, carried: { msPerPage: 0.004, msPerByte: 3e-6 }, placedMsPerPage: 0.015 },
};

/** Words in random order: about 3 to 1 at the usual level, more at a harder one. */
function textBatch(pages: number): Buffer {
  const words = Array.from({ length: 400 }, (_, i) => `word-${(i * 2_654_435_761) % 9973} `);
  let text = '';
  while (text.length < pages * PAGE) text += words[Math.floor(Math.random() * words.length)];
  return Buffer.from(text.slice(0, pages * PAGE), 'latin1');
}
const batches = Array.from({ length: 6 }, () => textBatch(256));

test('a given level is that level, and certain', async () => {
  const none = await tryPacking(batches, { ...conditions, compress: 'none' }, never);
  assert.deepEqual([none.packedBytesPerPage, none.low, none.high], [PAGE, PAGE, PAGE]);
  const lz = await tryPacking(batches, { ...conditions, compress: 'lz' }, never);
  assert.ok(lz.packedBytesPerPage < PAGE / 2 && lz.low === lz.packedBytesPerPage && lz.high === lz.low);
  assert.ok(lz.packMsPerPage > 0);
});

test('the slower the link, the fewer bytes; a bandwidth limit is a link', async () => {
  const at = async (change: Partial<TrialConditions>): Promise<number> =>
    (await tryPacking(batches, { ...conditions, ...change }, never)).packedBytesPerPage;
  // Where neither sending nor placing takes any time.
  const free = { linkMsPerByte: 1e-8, placedMsPerPage: 0, carried: { msPerPage: 0.0005, msPerByte: 0 } };
  const [slow, fast] = [await at({ linkMsPerByte: 8e-4 }), await at(free)];
  assert.ok(slow < PAGE / 2 && fast > 1.2 * slow, `${slow} ${fast}`);
  const limited = await at({ ...free, maxBandwidthBytesPerSecond: 1.25e6 });
  assert.ok(limited < 1.1 * slow, `${limited} ${slow}`);
});

test('the bytes lie between what the levels in question make of a page', async () => {
  for (const linkMsPerByte of [1e-8, 1e-6, 8e-6, 8e-5]) {
    const { low, packedBytesPerPage, high } = await tryPacking(batches, { ...conditions, linkMsPerByte }, never);
    assert.ok(
      low <= packedBytesPerPage && packedBytesPerPage <= high && high <= PAGE,
      `${low} ${packedBytesPerPage} ${high}`,
    );
  }
});

test('a guest without content has nothing to pack; the pages that were looked at stay as they are', async () => {
  assert.equal((await tryPacking([], conditions, never)).packMsPerPage, 0);
  const batch = textBatch(16);
  const before = Buffer.from(batch);
  await tryPacking([batch], conditions, never);
  assert.ok(batch.equals(before));
  const given = AbortSignal.abort();
  await assert.rejects(tryPacking([batch], conditions, given), { name: 'AbortError' });
});
