import assert from 'node:assert/strict';
import { test } from 'node:test';
import { arrivalView, lostReport, type Arrival } from './arrival.ts';

const arrival: Arrival = {
  id: 'm1',
  vm: 'web',
  source: 'host-a',
  destination: 'host-b',
  startedAt: '2026-01-01T00:00:00.000Z',
  elapsedMs: 90_000,
  state: 'pulling',
  totalPages: 1000,
  leftPages: 400,
  missingPages: 100,
  whereMissing: () => 'pc.ram: 100 pages in GiB 0',
  silentMs: null,
  hasQemuEnded: false,
};

test('while the source answers, only how many pages are still there is said', () => {
  const view = arrivalView({ ...arrival, whereMissing: () => assert.fail('nobody asked for it') });
  assert.equal(view.reason, 'The guest runs here and pulls 100 of its pages from host "host-a"');
  assert.deepEqual([view.stage, view.outcome, view.progress], ['activation', null, 0.75]);
  const states = Object.values(view.directory ?? {});
  assert.equal(
    states.reduce((sum, pages) => sum + pages, 0),
    1000,
  );
});

test('a source that is silent is named, with what is there and with the word that gives the guest up', () => {
  const { reason } = arrivalView({ ...arrival, silentMs: 61_000 });
  assert.match(
    reason ?? '',
    /needs host "host-a".*100 of its pages are there \(pc\.ram: .*"vmferry resolve m1 discard"$/,
  );
});

test('a report of lost pages says how many, where, and what to do', () => {
  const report = lostReport({ ...arrival, state: 'lost' });
  assert.deepEqual([report.outcome, report.guest, report.code], ['failed', 'lost', 'FERRY_PAGES_LOST']);
  assert.match(report.reason, /100 pages of VM "web" never came \(pc\.ram: 100 pages in GiB 0\).*vm stop web --force/);
  assert.equal(report.pages.pulled, 300);
  assert.equal(
    Object.values(report.stagesMs).reduce((sum, ms) => sum + ms, 0),
    report.totalMs,
  );
  assert.equal(arrivalView({ ...arrival, state: 'lost' }).outcome, 'failed');
});

test('a destination whose own QEMU ended does not blame the source', () => {
  const { reason } = lostReport({ ...arrival, state: 'lost', hasQemuEnded: true });
  assert.match(
    reason,
    /^The QEMU of VM "web" at host "host-b" ended .*100 of its pages.*"vmferry resolve m1 discard" is said there$/,
  );
});

test('an agent that finds the guest lost says what it knows, and the word that ends it', () => {
  const lost = { ...arrival, state: 'lost', totalPages: 0, leftPages: null, missingPages: null } as const;
  const view = arrivalView(lost);
  assert.deepEqual([view.outcome, view.progress, view.pagesPending], ['failed', 1, 0]);
  assert.match(view.reason ?? '', /^VM "web" had been handed over .*was lost there.*"vmferry resolve m1 discard"$/);
  assert.equal(lostReport(lost).pages.pulled, null);
});
