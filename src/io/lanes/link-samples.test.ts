import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LinkSamples, type LaneDelivery } from './link-samples.ts';

const mbitPerS = (rate: number): number => (rate * 1000) / 8;

/** One lane as `ss` shows it: MB acknowledged so far, milliseconds busy so far, Mbit/s of the newest word, and whether it had more to send. */
type Shown = readonly [ackedMb: number, busyMs: number, word: number, isBusy?: boolean];

function samplesOf(shown: readonly Shown[], { lanes = 1, everyMs = 150 } = {}): LinkSamples {
  const samples = new LinkSamples(lanes);
  for (const [i, [ackedMb, busyMs, word, isBusy = true]] of shown.entries()) {
    const deliveries = Array.from({ length: lanes }, (_, lane): LaneDelivery => {
      const bytes = (ackedMb * 1e6) / lanes;
      return {
        connection: `lane ${lane}`,
        sentBytes: bytes,
        ackedBytes: bytes,
        busyMs,
        bytesPerMs: mbitPerS(word),
        isBusy,
      };
    });
    samples.add(deliveries, i * everyMs);
  }
  return samples;
}

/** First moves over 10 Gbit/s, on two crowded processors; all but the last were packing. */
const firsts10G: readonly Shown[] = [
  [6.67, 12, 22_740],
  [13.99, 44, 7840],
  [16.55, 16, 13_470],
  [25.41, 32, 10_350],
];

/** And over 1 Gbit/s, with the words that bursts through the shaper made. */
const moves1G: readonly (readonly Shown[])[] = [
  [
    [5.64, 44, 960],
    [12.41, 108, 9990, false],
    [21.9, 228, 1360],
    [31.05, 328, 1070],
    [39.74, 412, 670],
  ],
  [
    [0.94, 8, 6980, false],
    [7.34, 92, 990],
    [11.54, 140, 2970],
    [11.91, 144, 940],
    [16.62, 176, 1380, false],
    [23.43, 228, 960],
  ],
  [
    [2.38, 32, 6680, false],
    [9.57, 88, 610],
    [15.67, 132, 990],
    [20.58, 176, 1010],
    [25.44, 208, 4590, false],
    [32.79, 268, 970],
  ],
];

test('a link of 10 Gbit/s is fast at the first look, at the least', () => {
  for (const first of firsts10G) {
    const { link } = samplesOf([first]);
    assert.equal(link?.isMeasured, false);
    assert.ok(1 / link!.msPerByte > mbitPerS(2000), `${8 / link!.msPerByte / 1000} Mbit/s`);
  }
});

test('a link of 1 Gbit/s is never fast, and measured at the third word', () => {
  for (const [move, shown] of moves1G.entries()) {
    for (let i = 1; i <= shown.length; i++) {
      const { link } = samplesOf(shown.slice(0, i));
      const words = shown.slice(0, i).filter(([mb, , , isBusy = true]) => mb > 1.1 && isBusy).length;
      assert.equal(link === null, words < 3, `move ${move}, look ${i}`);
      if (link !== null) assert.ok(link.isMeasured && 1 / link.msPerByte < mbitPerS(1400), `move ${move}, look ${i}`);
    }
  }
});

test('lanes share what is measured and what is proved, and two that send at the same time prove half of it each', () => {
  const one = samplesOf([[25, 32, 10_000]]).link!;
  const two = samplesOf([[25, 16, 10_000]], { lanes: 2 }).link!;
  assert.ok(Math.abs(two.msPerByte / one.msPerByte - 2) < 1e-9);
});

test('what was proved is no more believed once the link carries less, and a burst is not mistaken for ever', () => {
  // Five MB through a shaper at once, then 1 Gbit/s.
  const shown: Shown[] = [[5, 4, 20_000]];
  for (let i = 1; i < 6; i++) shown.push([5 + 18.6 * i, 4 + 149 * i, 990]);
  assert.equal(samplesOf(shown.slice(0, 1)).link?.isMeasured, false);
  assert.equal(samplesOf(shown.slice(0, 2)).link, null, 'not proved any more, and not measured yet');
  assert.deepEqual(samplesOf(shown.slice(0, 4)).link, { msPerByte: 1 / mbitPerS(990), isMeasured: true });
});

test('a guess that a link is fast is taken back after two looks at one that is not, and never where that was proved', () => {
  // Stored pages over 1 Gbit/s.
  const stored: Shown[] = [
    [3.1, 27, 990],
    [21.8, 177, 990],
  ];
  assert.equal(samplesOf(stored.slice(0, 1)).disproof, null, 'too early');
  const { link, disproof } = samplesOf(stored);
  assert.equal(link, null);
  assert.ok(disproof?.isMeasured === true && 1 / disproof.msPerByte < mbitPerS(1000));
  for (const first of firsts10G) {
    const starved: Shown = [first[0] + 9, first[1] + 150, 6000];
    assert.equal(samplesOf([first, starved]).disproof, null);
  }
});

test('a connection that says the same again says nothing', () => {
  const samples = samplesOf(Array.from({ length: 9 }, (): Shown => [0.9, 8, 990]));
  assert.equal(samples.link, null, 'less than a burst');
  assert.equal(samples.isSettled, false);
  const same = samplesOf(Array.from({ length: 9 }, (): Shown => [9, 80, 990]));
  assert.equal(same.link, null);
});
