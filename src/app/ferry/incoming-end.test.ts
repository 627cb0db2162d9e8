import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodePullRuns } from '../../core/wire/pull-codec.ts';
import { IncomingEnd } from './incoming-end.ts';

const MEMORY_BYTES = 100 * 4096;

test('lists of pages and pieces of the end come out as they went in, and once', () => {
  const end = new IncomingEnd(MEMORY_BYTES);
  end.addPages(3, encodePullRuns(Uint32Array.of(0, 10, 50, 1)));
  end.addPages(3, encodePullRuns(Uint32Array.of(20, 5)));
  end.addPiece(Uint8Array.of(1));
  end.addPiece(Uint8Array.of(2));
  const { pieces, missing } = end.take();
  assert.deepEqual(
    [pieces, missing],
    [[Uint8Array.of(1), Uint8Array.of(2)], { ramSectionId: 3, runs: Uint32Array.of(0, 10, 50, 1, 20, 5) }],
  );
  assert.deepEqual(end.take(), { pieces: [], missing: null });
});

test('a source that has no page left says so with an empty list', () => {
  const end = new IncomingEnd(MEMORY_BYTES);
  end.addPages(2, new Uint8Array(0));
  assert.deepEqual(end.take().missing, { ramSectionId: 2, runs: new Uint32Array(0) });
});

test('many small messages cannot add up to more than a guest can have', () => {
  const pages = new IncomingEnd(MEMORY_BYTES);
  pages.addPages(1, encodePullRuns(Uint32Array.of(0, 100)));
  assert.throws(() => pages.addPages(1, encodePullRuns(Uint32Array.of(0, 1))), /101 pages .* has 100/);
  const pieces = new IncomingEnd(MEMORY_BYTES);
  const piece = new Uint8Array(64 * 2 ** 20);
  for (let i = 0; i < 4; i++) pieces.addPiece(piece);
  assert.throws(() => pieces.addPiece(piece), { code: 'FERRY_PEER' });
});
