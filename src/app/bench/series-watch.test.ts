import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withWork } from './series-watch.ts';

const columns = {
  ...{ atMs: [-3000, 0, 3000, 6000], stepMs: [100, 100, 100, 100], wireBytes: [0, 0, 0, 0] },
  ...{ sourceVcpuMs: [0, 0, 0, 0], destinationVcpuMs: [0, 0, 0, 0], neighbourVcpuMs: [0, 0, 0, 0] },
};
/** The move was asked for at 50,000 by the host's clock, when the guest's stood at 10,000. */
const startMs = 50_000;
const line = (guestMs: number, work: number): { guestMs: number; work: number } => ({ guestMs, work });
const sourceWork = [line(2000, 0), line(8000, 600), line(9000, 700), line(11_000, 800)];
const said = (all: readonly { guestMs: number; work: number }[], offsetMs: number) => ({
  all,
  // Lines are seen a little late, and that of the smallest delay says what the clock is.
  seen: all.map((point, n) => ({ ...point, seenMs: point.guestMs + offsetMs + 5 * n })),
});

test("a guest's rates stand at the time of the request's clock, also of lines that came during the move", () => {
  const source = said([line(8000, 600), line(9000, 700)], 40_000);
  // At the destination its clock stood still for 400 ms.
  const destination = said([line(12_000, 900), line(13_000, 1100)], 40_400);
  const series = withWork({ columns, startMs, sourceWork }, { source, destination, neighbour: null });
  assert.deepEqual(series.work, { atMs: [-2000, -1000, 1000, 3400], perS: [100, 100, 50, 200] });
  assert.equal(series.neighbourWork, null);
});

test('of a guest whose lines were not seen arriving there is no course', () => {
  const none = { all: [line(8000, 600), line(9000, 700)], seen: [] };
  const series = withWork({ columns, startMs, sourceWork }, { source: none, destination: null, neighbour: none });
  assert.deepEqual([series.work, series.neighbourWork], [null, null]);
});
