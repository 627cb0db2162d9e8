import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { measureLimit, PIECE_PAGES } from './limit.ts';

const PAGE = 4096;

/** A block whose pages are zero ("0"), incompressible ("r"), full of one byte ("c"), or in the same way but soft ("R", "C"). */
function memoryOf(blocks: Record<string, string>) {
  const contents = new Map(
    Object.entries(blocks).map(([name, pages]) => [
      name,
      Buffer.concat(
        Array.from(pages, (kind) =>
          kind === '0' ? Buffer.alloc(PAGE) : /r/i.test(kind) ? randomBytes(PAGE) : Buffer.alloc(PAGE, 7),
        ),
      ),
    ]),
  );
  return {
    blocks: Object.entries(blocks).map(([name, pages]) => ({ name, pages: pages.length })),
    read: (name: string, firstPage: number, target: Uint8Array) => {
      target.set(contents.get(name)!.subarray(firstPage * PAGE, firstPage * PAGE + target.length));
    },
    unneeded: async (name: string, first: number, count: number) => {
      const bits = new Uint32Array(Math.ceil(count / 32));
      for (let n = 0; n < count; n++) if (/[RC]/.test(blocks[name]![first + n]!)) bits[n >>> 5]! |= 1 << (n & 31);
      return await Promise.resolve(bits);
    },
    compressedBytes: async (piece: Uint8Array) => await Promise.resolve(zstdCompressSync(piece).length),
  };
}

test('zero and soft pages cost nothing, what cannot be compressed costs its length', async () => {
  const limit = await measureLimit(memoryOf({ ram: '0rR0Ccr' }));
  assert.deepEqual([limit.zeroPages, limit.softPages, limit.neededPages], [2, 2, 3]);
  assert.ok(limit.bytes > 2 * PAGE && limit.bytes < 2 * PAGE + 200, `${limit.bytes} bytes`);
});

test('pages are counted over blocks, questions and pieces', async () => {
  const big = 'r'.repeat(PIECE_PAGES + 3) + '0'.repeat(16_384) + 'Rr'.repeat(40);
  const limit = await measureLimit(memoryOf({ ram: big, video: 'c'.repeat(700) }));
  assert.equal(limit.neededPages, PIECE_PAGES + 3 + 40 + 700);
  assert.equal(limit.softPages, 40);
  assert.equal(limit.zeroPages, 16_384);
  const random = (PIECE_PAGES + 3 + 40) * PAGE;
  assert.ok(limit.bytes > random && limit.bytes < random * 1.01, `${limit.bytes} bytes for ${random}`);
});

test('a guest with nothing to send has a limit of nothing', async () => {
  assert.equal((await measureLimit(memoryOf({ ram: '00R' }))).bytes, 0);
});
