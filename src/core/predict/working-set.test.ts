import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimRandom } from '../strategy/sim-random.ts';
import { dirtiedPages, fitWorkingSet, type ChangeWindow } from './working-set.ts';

const PAGES = 262_144;
const LOOKED = 8192;
const ALL = { pages: PAGES, looked: LOOKED, content: PAGES };
const TIMES_MS = [0, 100, 300, 1000, 2000, 3000];

/** Looks at every 32nd page of a guest whose pages have a version each. */
function look(write: (ms: number, versions: Uint32Array) => void): ChangeWindow[] {
  const versions = new Uint32Array(PAGES);
  const looks: Uint32Array[] = [];
  for (let ms = 0; ms <= TIMES_MS.at(-1)!; ms++) {
    if (TIMES_MS.includes(ms)) looks.push(versions.slice());
    write(ms, versions);
  }
  return TIMES_MS.flatMap((from, i) =>
    TIMES_MS.slice(i + 1).map((to, j) => {
      let changed = 0;
      for (let page = 0; page < PAGES; page += PAGES / LOOKED) {
        if (looks[i]![page] !== looks[i + 1 + j]![page]) changed++;
      }
      return { ms: to - from, changedShare: changed / LOOKED };
    }),
  );
}

test('a guest that writes nothing has no working set', () => {
  assert.deepEqual(
    fitWorkingSet(
      look(() => undefined),
      ALL,
    ),
    { pagesPerMs: 0, hotPages: 0 },
  );
});

for (const { hot, rate } of [
  { hot: 32_768, rate: 5 },
  { hot: 32_768, rate: 50 },
  { hot: 2048, rate: 5 },
  { hot: 131_072, rate: 20 },
]) {
  test(`${rate} pages per ms at random among ${hot} are found`, () => {
    const random = new SimRandom(7);
    // Hot pages lie anywhere.
    const place = (page: number): number => (page * 8191) % PAGES;
    const found = fitWorkingSet(
      look((_, versions) => {
        for (let i = 0; i < rate; i++) versions[place(random.below(hot))]!++;
      }),
      ALL,
    );
    for (const ms of [100, 300, 1000, 3000]) {
      const [got, want] = [dirtiedPages(found, ms), dirtiedPages({ pagesPerMs: rate, hotPages: hot }, ms)];
      assert.ok(Math.abs(got - want) < 0.2 * want + 3 * (PAGES / LOOKED), `${got} for ${want} after ${ms} ms`);
    }
  });
}

test('a guest that goes through its memory page by page is described as far as it was seen', () => {
  let next = 0;
  const found = fitWorkingSet(
    look((_, versions) => {
      for (let i = 0; i < 5; i++) versions[(next++ * 8191) % PAGES]!++;
    }),
    ALL,
  );
  for (const ms of [300, 1000, 3000]) {
    assert.ok(Math.abs(dirtiedPages(found, ms) - 5 * ms) < 0.25 * 5 * ms, `${dirtiedPages(found, ms)} after ${ms} ms`);
  }
});

test('never more pages than there are', () => {
  const found = fitWorkingSet(
    [
      { ms: 100, changedShare: 1 },
      { ms: 1000, changedShare: 1 },
    ],
    ALL,
  );
  assert.ok(found.hotPages <= PAGES && dirtiedPages(found, 1e6) <= PAGES);
});

test('a hot set is no larger than what the guest holds, unless more of it was seen to change', () => {
  // Hardly any page twice: all sizes from here on explain it alike, and chance prefers a large one.
  const windows = [100, 200, 400].map((ms) => ({
    ms,
    changedShare: (0.0004 + 0.0008 * (ms % 200 === 0 ? 1 : 0)) * (ms / 4),
  }));
  const free = fitWorkingSet(windows, ALL);
  const found = fitWorkingSet(windows, { ...ALL, content: 40_000 });
  assert.ok(free.hotPages > 40_000, `${free.hotPages} of ${PAGES}`);
  assert.ok(found.hotPages <= 40_000 && found.pagesPerMs > 0, `${found.hotPages} of 40000`);
  const all = fitWorkingSet([{ ms: 100, changedShare: 0.5 }], { ...ALL, content: 1000 });
  assert.ok(all.hotPages >= PAGES / 2 && all.pagesPerMs > 0, `${all.hotPages} pages`);
});
