import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, openSync, rmSync, writeFileSync, writeSync, closeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fitWorkingSet } from '../../core/predict/working-set.ts';
import { lookAtGuest } from './guest-survey.ts';
import type { UnneededPages } from '../../io/lanes/sample-batches.ts';

const PAGE = 4096;
const PAGES = 4096;
const folder = mkdtempSync(join(tmpdir(), 'vmferry-survey-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Memory as a file: a quarter random, a quarter text, half of it zero. */
function memoryFile(): { readonly path: string; readonly map: Parameters<typeof lookAtGuest>[0] } {
  const path = join(folder, `${Math.random()}`);
  const bytes = Buffer.alloc(PAGES * PAGE);
  randomBytes((PAGES / 4) * PAGE).copy(bytes, 0);
  bytes.fill('a line of text that packs well\n', (PAGES / 4) * PAGE, (PAGES / 2) * PAGE);
  writeFileSync(path, bytes);
  const [first, second] = [PAGES / 4, (PAGES * 3) / 4];
  return {
    path,
    map: [
      { name: 'one', firstPage: 0, pageCount: first, path, offsetBytes: 0 },
      { name: 'two', firstPage: 8192, pageCount: second, path, offsetBytes: first * PAGE },
    ],
  };
}

const never = new AbortController().signal;

test('what pages hold: zero, packable, random; nothing was written', async () => {
  const look = await lookAtGuest(memoryFile().map, { ms: 200 }, never);
  assert.deepEqual([look.pages, look.lookedAt], [PAGES, PAGES]);
  assert.ok(Math.abs(look.zeroShare - 0.5) < 0.06, `${look.zeroShare} zero`);
  assert.ok(Math.abs(look.hardShare - 0.25) < 0.03, `${look.hardShare} cannot be packed`);
  assert.ok(look.batches.length > 0);
  for (const batch of look.batches) {
    for (let at = 0; at < batch.length; at += PAGE)
      assert.match(batch.toString('latin1', at, at + PAGE), /text that packs/);
  }
  assert.ok(look.windows.every(({ changedShare }) => changedShare === 0));
  assert.equal(look.written, null);
});

test('pages that the guest can do without are in no batch, and none of those that cannot be packed', async () => {
  const asked: [string, number, number][] = [];
  const saying =
    (bits: (block: string) => number): UnneededPages =>
    async (block, first, pages) => {
      asked.push([block, first, pages]);
      return await Promise.resolve(new Uint32Array(Math.ceil(pages / 32)).fill(bits(block)));
    };
  const { map } = memoryFile();
  const noRandom = saying((block) => (block === 'one' ? 0xffff_ffff : 0));
  const look = await lookAtGuest(map, { ms: 200, unneeded: noRandom }, never);
  assert.equal(look.hardShare, 0);
  assert.ok(look.batches.length > 0);
  assert.ok(asked.every(([block, first, pages]) => first >= 0 && first + pages <= (block === 'one' ? 1024 : 3072)));
  const isFilled = ([block, first]: (typeof asked)[number]): boolean => block === 'one' || first < 1024;
  assert.ok(asked.some(([block]) => block === 'one') && asked.every(isFilled), 'nobody is asked about zero pages');
  const ofNothing = await lookAtGuest(map, { ms: 200, unneeded: saying(() => 0xffff_ffff) }, never);
  assert.deepEqual([ofNothing.batches.length, ofNothing.hardShare], [0, 0]);
});

test('what is written, and how much of a page changes', async () => {
  const { path, map } = memoryFile();
  const file = openSync(path, 'r+');
  let number = 0;
  const writer = setInterval(() => {
    // 512 pages over and over, 16 bytes each.
    for (let i = 0; i < 64; i++) {
      const word = Buffer.alloc(16, ++number % 251);
      writeSync(file, word, 0, 16, (number % 512) * 8 * PAGE + 100);
    }
  }, 5);
  const look = await lookAtGuest(map, { ms: 1000 }, never).finally(() => {
    clearInterval(writer);
    closeSync(file);
  });
  const { hotPages } = fitWorkingSet(look.windows, { pages: look.pages, looked: look.lookedAt, content: look.pages });
  assert.ok(hotPages > 400 && hotPages < 700, `${hotPages} hot pages`);
  const { deltaBytesPerPage, hardShare, batches } = look.written!;
  assert.ok(deltaBytesPerPage < 64, `${deltaBytesPerPage} bytes change`);
  // Every eighth of the first 4096 pages is written to: half random, half text, with three neighbours each.
  assert.ok(hardShare > 0.2 && hardShare < 0.8, `${hardShare} of the written pages cannot be packed`);
  assert.ok(batches.length > 0 && batches.length <= 2);
});

test('memory that cannot be read is an error, and a look can be given up', async () => {
  const missing = [{ name: 'ram', firstPage: 0, pageCount: 10, path: join(folder, 'nowhere'), offsetBytes: 0 }];
  await assert.rejects(lookAtGuest(missing, { ms: 200 }, never), { code: 'LANE_READ' });
  // Not AbortSignal.timeout: its error has another name when the look sees it between two waits.
  const given = new AbortController();
  setTimeout(() => given.abort(), 50);
  await assert.rejects(lookAtGuest(memoryFile().map, { ms: 10_000 }, given.signal), { name: 'AbortError' });
});
