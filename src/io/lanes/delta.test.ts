/**
 * Deltas from end to end, without the threads: the real encoder reads one guest's memory, the real parser and placer
 * write another's, over random writes, frees, zeroings, batches and a cache that is too small.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import * as fc from 'fast-check';
import { DELTA_RUN, laneHeadBytes, LaneFrameType, writeLaneHead } from '../../core/wire/lane-frame.ts';
import { type LaneFrame, LaneParser } from '../../core/wire/lane-parser.ts';
import { allocateFrameBuffer, BatchEncoder } from './batch-encoder.ts';
import { GuestMemory } from './guest-memory.ts';
import type { MemoryMap, SentCounts } from './lane-protocol.ts';
import { createPageHash } from './page-hash.ts';
import { PagePlacer } from './page-placer.ts';

const PAGE = 4096;
const PAGES = 40;
const folder = mkdtempSync(path.join(os.tmpdir(), 'delta-'));
after(() => rmSync(folder, { recursive: true }));
const hash = await createPageHash();
const frame = allocateFrameBuffer();

/** Twice `cachePages` is the cache's size: the other half are signatures. */
type Setup = { readonly cachePages?: number; readonly compress?: 'none' | 'lz'; readonly preloaded?: boolean };

/** A lane without its threads and its connection. */
class Bench {
  readonly #files = ['source', 'destination'].map((name) => path.join(folder, name));
  readonly #fds: number[];
  readonly #memories: GuestMemory[];
  readonly #encoder: BatchEncoder;
  readonly #placer: PagePlacer;
  readonly #parser: LaneParser;
  #sequence = 0;
  frames: LaneFrame['header'][] = [];

  constructor({ cachePages = 16, compress = 'none', preloaded = false }: Setup = {}) {
    for (const file of this.#files) fs.writeFileSync(file, Buffer.alloc(PAGES * PAGE, preloaded ? 'flash' : 0));
    fs.writeFileSync(this.#files[0]!, Buffer.alloc(PAGES * PAGE));
    this.#fds = this.#files.map((file) => fs.openSync(file, 'r+'));
    const maps = this.#files.map((file): MemoryMap => [
      { name: 'ram', firstPage: 0, pageCount: PAGES, path: file, offsetBytes: 0, preloaded },
    ]);
    this.#memories = [new GuestMemory(maps[0]!, 'read'), new GuestMemory(maps[1]!, 'place')];
    this.#encoder = new BatchEncoder(this.#memories[0]!, {
      compress,
      deltaCacheBytes: 2 * cachePages * PAGE,
      memory: maps[0]!,
      lanes: 1,
      maxBandwidthBytesPerSecond: null,
    });
    this.#placer = new PagePlacer(this.#memories[1]!, hash, { lane: 0, lanes: 1, memory: maps[1]! });
    this.#parser = new LaneParser('source', (each) => {
      this.frames.push(each.header);
      this.#placer.place(each);
    });
  }

  get placer(): PagePlacer {
    return this.#placer;
  }

  write(page: number, at: number, bytes: Uint8Array): void {
    fs.writeSync(this.#fds[0]!, bytes, 0, bytes.length, page * PAGE + at);
  }

  read(side: 0 | 1, page: number): Buffer {
    const out = Buffer.alloc(PAGE);
    fs.readSync(this.#fds[side]!, out, 0, PAGE, page * PAGE);
    return out;
  }

  /** Pages one by one: the encoder joins neighbours itself. */
  send(pages: readonly number[], heats?: readonly number[], zeroed: readonly number[] = []): SentCounts {
    const { start, end, ...counts } = this.#encoder.encode(
      ++this.#sequence,
      {
        runs: Uint32Array.from(pages.flatMap((page) => [page, 1])),
        zeroRuns: Uint32Array.from(zeroed.flatMap((page) => [page, 1])),
        heats: Uint8Array.from(heats ?? pages.map(() => 1)),
      },
      frame,
    );
    this.#parser.push(frame.buffer.subarray(start, end));
    return counts;
  }

  close(): void {
    for (const memory of this.#memories) memory.close();
    for (const fd of this.#fds) fs.closeSync(fd);
  }
}

function noise(seed: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => Math.imul(seed + i * 2_654_435_761, 0x85eb_ca6b) >>> 11);
}

/** Few pages are written and sent often, the others seldom. */
const page = fc.oneof(
  { weight: 4, arbitrary: fc.nat(3) },
  { weight: 2, arbitrary: fc.nat(11) },
  { weight: 1, arbitrary: fc.nat(PAGES - 1) },
);
/** Few places and few contents: what was there before comes back. */
const place = fc.oneof({ weight: 3, arbitrary: fc.constantFrom(0, 4000) }, { weight: 1, arbitrary: fc.nat(PAGE - 64) });
const seed = fc.nat(2);
const event = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('touch' as const), page, at: place, seed }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('rewrite' as const), page, seed }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('zero' as const), page }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('send' as const),
      pages: fc.uniqueArray(page, { maxLength: 16, size: 'max' }),
      hot: fc.nat(3),
      pruned: fc.integer({ min: 0, max: 3 }),
    }),
  },
);

test('after any schedule the destination holds what was sent last', () => {
  const seen = { delta: 0, unchanged: 0, zero: 0, whole: 0 };
  fc.assert(
    fc.property(
      fc.array(event, { minLength: 10, maxLength: 60, size: 'max' }),
      fc.constantFrom(0, 8, 16, 64),
      fc.constantFrom('none' as const, 'lz' as const),
      fc.boolean(),
      (events, cachePages, compress, preloaded) => {
        const bench = new Bench({ cachePages, compress, preloaded });
        for (let each = 0; each < PAGES; each += 2) bench.write(each, 0, noise(each, PAGE));
        const everSent = new Set<number>();
        const expected = Array.from({ length: PAGES }, (_, each) => bench.read(1, each));
        try {
          for (const each of events) {
            if (each.do === 'touch') bench.write(each.page, each.at, noise(each.seed, 1 + (each.seed % 64)));
            else if (each.do === 'rewrite') bench.write(each.page, 0, noise(each.seed, PAGE));
            else if (each.do === 'zero') bench.write(each.page, 0, Buffer.alloc(PAGE));
            else {
              // Pruned pages are zero at the destination whatever the source holds.
              const pruned = each.pages.slice(0, each.pruned);
              const pages = each.pages.slice(each.pruned);
              const heats = pages.map((_, i) => (i % 4 < each.hot ? 1 + i : 0));
              if (pages.length + pruned.length === 0) continue;
              const counts = bench.send(pages, heats, pruned);
              seen.delta += counts.deltaPages;
              seen.unchanged += counts.unchangedPages;
              seen.zero += counts.zeroPages;
              seen.whole += counts.dataPages - counts.deltaPages;
              assert.equal(counts.dataPages + counts.zeroPages + counts.unchangedPages, each.pages.length);
              for (const sent of pages) expected[sent] = bench.read(0, sent);
              const content = pages.filter((sent) => !expected[sent]!.equals(Buffer.alloc(PAGE)));
              const repeats = content.filter((sent) => everSent.has(sent)).length;
              assert.equal(counts.resentPages + counts.unchangedPages, repeats);
              if (repeats === content.length) assert.equal(counts.resentBytes, repeats === 0 ? 0 : counts.wireBytes);
              else
                assert.ok(counts.resentBytes < counts.wireBytes && counts.resentBytes > 0 === counts.resentPages > 0);
              for (const sent of content) everSent.add(sent);
              for (const sent of pruned) expected[sent] = Buffer.alloc(PAGE);
            }
          }
          for (const [each, content] of expected.entries()) {
            assert.ok(bench.read(1, each).equals(content), `page ${each}`);
          }
        } finally {
          bench.close();
        }
      },
    ),
    { numRuns: Number(process.env['VMFERRY_SCHEDULES'] ?? 300) },
  );
  for (const [kind, count] of Object.entries(seen)) assert.ok(count > 100, `${count} pages travelled ${kind}`);
});

test('a page that the guest writes to a little travels as a little', () => {
  const bench = new Bench();
  for (let each = 0; each < 10; each++) bench.write(each, 0, noise(each, PAGE));
  const pages = Array.from({ length: 10 }, (_, each) => each);
  assert.equal(bench.send(pages, pages.map(() => 0)).deltaPages, 0); // prettier-ignore
  assert.deepEqual([bench.send(pages).unchangedPages, bench.frames.at(-1)?.payloadBytes], [10, 0]);
  for (const each of pages) bench.write(each, 100 * each, Buffer.from('12345678'));
  const counts = bench.send(pages);
  assert.deepEqual([counts.dataPages, counts.deltaPages, counts.rawBytes], [10, 10, 10 * PAGE]);
  assert.ok(counts.wireBytes < 24 + 8 + 10 * 13, `${counts.wireBytes} bytes for ten changes of 8`);
  for (const each of pages) assert.ok(bench.read(1, each).equals(bench.read(0, each)));
  bench.close();
});

test('bytes of repeats are told apart from bytes of first copies', () => {
  const bench = new Bench();
  for (let each = 0; each < 10; each++) bench.write(each, 0, noise(each, PAGE));
  const first = bench.send([0, 1, 2, 3]);
  assert.deepEqual([first.resentPages, first.resentBytes], [0, 0]);
  for (const each of [0, 1]) bench.write(each, 8, Buffer.from('12345678'));
  const mixed = bench.send([0, 2, 4, 5]);
  assert.deepEqual([mixed.resentPages, mixed.deltaPages, mixed.unchangedPages], [1, 1, 1]);
  assert.equal(mixed.resentBytes, 8 + 11, 'one run and its delta; the unchanged page costs nothing');
  assert.equal(bench.send([4, 6, 7], [0, 0, 0]).resentBytes, 0, 'an unchanged page beside first copies');
  const cold = bench.send([8], [0]);
  assert.equal(cold.resentBytes, 0);
  bench.write(8, 8, Buffer.from('12345678'));
  const halves = bench.send([8, 9], [0, 0]);
  assert.deepEqual(
    [halves.resentPages, halves.resentBytes],
    [1, 8 + 3 + 128],
    'one block: it was cold when it was sent first',
  );
  for (const each of [1, 3]) bench.write(each, 0, noise(77, PAGE));
  bench.write(10, 0, noise(10, PAGE));
  const whole = bench.send([1, 3, 10]);
  assert.deepEqual(
    [whole.resentPages, whole.deltaPages, whole.resentBytes],
    [2, 0, 2 * PAGE],
    'shared by their number',
  );
  const again = bench.send([8], [0]);
  assert.equal(again.resentBytes, again.wireBytes);
  bench.close();
});

test('a guest that writes its pages anew all over gets no more signatures, until some would have helped', () => {
  const bench = new Bench({ cachePages: 8 });
  const pages = Array.from({ length: 32 }, (_, each) => each);
  const send = (length: number, round: number): SentCounts => {
    for (const each of pages) bench.write(each, 0, noise(each + round * 1000, length));
    return bench.send(pages);
  };
  /** Whether a page that has come newly is signed: its first repeat is then a delta. */
  const isSigned = (fresh: number): boolean => {
    bench.write(fresh, 0, noise(fresh, PAGE));
    bench.send([fresh], [0]);
    bench.write(fresh, 0, noise(fresh + 1, 8));
    return bench.send([fresh], [0]).deltaPages === 1;
  };
  for (let round = 0; round < 2; round++) send(PAGE, round);
  assert.ok(isSigned(32), 'too early to say');
  for (let round = 2; round < 10; round++) send(PAGE, round);
  assert.ok(!isSigned(33));
  for (let round = 10; round < 16; round++) send(8, round);
  assert.ok(isSigned(34));
  for (const each of [...pages, 32, 33, 34]) assert.ok(bench.read(1, each).equals(bench.read(0, each)));
  bench.close();
});

test('old content that comes back is not taken for what the destination holds', () => {
  for (const length of [8, PAGE]) {
    const bench = new Bench();
    for (const [i, seed] of [1, 2, 1, 1, 3, 1, 2, 1].entries()) {
      bench.write(0, 0, noise(seed, length));
      bench.send([0], [i < 4 ? 1 : i % 2]);
      assert.ok(bench.read(1, 0).equals(bench.read(0, 0)), `${length} bytes of ${seed}`);
    }
    bench.close();
  }
});

test('a working set larger than the cache keeps its share of it, the others have signatures', () => {
  const bench = new Bench({ cachePages: 16 });
  const pages = Array.from({ length: 32 }, (_, each) => each);
  for (const each of pages) bench.write(each, 0, noise(each, PAGE));
  bench.send(pages);
  for (let round = 1; round < 10; round++) {
    for (const each of pages) bench.write(each, 0, noise(each + round * 1000, 8));
    assert.equal(bench.send(pages).deltaPages, 32);
    const { deltaBytes } = bench.frames.at(-1)!;
    assert.ok(
      deltaBytes >= 16 * 128 && deltaBytes <= 16 * (128 + 5) + 16 * 12,
      `${deltaBytes}: blocks for half of them`,
    );
    for (const each of pages) assert.ok(bench.read(1, each).equals(bench.read(0, each)));
  }
  bench.close();
});

test('a page that is sent for the first time gives way to a hot one, and leaves its signature', () => {
  const bench = new Bench({ cachePages: 8 });
  const [cold, hot] = [[0, 1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12, 13, 14, 15]]; // prettier-ignore
  for (const each of [...cold, ...hot]) bench.write(each, 0, noise(each, PAGE));
  const sizes = (pages: number[], heat: number): [number, number, number | undefined] => {
    for (const each of pages) bench.write(each, 1000, noise(each + bench.frames.length * 99, 8));
    const { deltaPages } = bench.send(pages, pages.map(() => heat)); // prettier-ignore
    for (const each of pages) assert.ok(bench.read(1, each).equals(bench.read(0, each)));
    return [deltaPages, bench.frames.length, bench.frames.at(-1)?.deltaBytes];
  };
  assert.deepEqual(sizes(cold, 0), [0, 1, 0]);
  assert.deepEqual(sizes(hot, 1), [0, 2, 0]);
  assert.deepEqual(sizes(hot, 1), [8, 3, 8 * 12], 'whole versions of the hot ones');
  assert.deepEqual(sizes(cold, 0), [8, 4, 8 * (4 + 128)], 'blocks of those that were pushed out');
  bench.close();
});

test('a forged delta is refused: of a page that holds nothing, damaged, too long, too short', () => {
  const place = (setup: (bench: Bench) => void, deltas: readonly number[], pages = 1): void => {
    const bench = new Bench();
    setup(bench);
    const at = laneHeadBytes(1);
    const bytes = new Uint8Array(at + deltas.length);
    const [payloadBytes, rawBytes, deltaBytes] = [deltas.length, deltas.length, deltas.length];
    const header = {
      type: LaneFrameType.pages,
      flags: 0,
      sequence: 1,
      runCount: 1,
      payloadBytes,
      rawBytes,
      deltaBytes,
    };
    writeLaneHead(bytes, 0, header, Uint32Array.of(0, DELTA_RUN | pages));
    bytes.set(deltas, at);
    try {
      new LaneParser('source', (each) => bench.placer.place(each)).push(bytes);
    } finally {
      bench.close();
    }
  };
  const nothing = (): void => {};
  const sent = (bench: Bench): void => {
    for (const each of [0, 1]) bench.write(each, 0, noise(1, PAGE));
    bench.send([0, 1]);
  };
  const sentAndZeroed = (bench: Bench): void => {
    sent(bench);
    bench.send([1], [1], [0]);
  };
  place(sent, [1, 0, 0, 7]);
  assert.throws(() => place(nothing, [1, 0, 0, 7]), { code: 'LANE_PROTOCOL', message: /holds nothing/ });
  assert.throws(() => place(sentAndZeroed, [1, 0, 0, 7]), { code: 'LANE_PROTOCOL', message: /holds nothing/ });
  assert.throws(() => place(sent, [2, 0, 0, 7]), { code: 'LANE_FRAME_DELTA' });
  assert.throws(() => place(sent, [1, 0, 0, 7, 9]), { code: 'LANE_PROTOCOL', message: /end at 4, not at 5/ });
  assert.throws(() => place(sent, [1, 0, 4, 7, 7, 7, 7, 7], 2), { code: 'LANE_FRAME_DELTA' });
});
