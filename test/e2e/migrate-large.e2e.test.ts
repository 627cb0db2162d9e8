/** A guest of 8 GiB that is mostly zero: the agents' memory does not grow with it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { assertReport } from '../support/report-checks.ts';
import { assertProgress, useLab } from '../support/lab-hosts.ts';

const lab = useLab();
const SAMPLE_MS = 50;
const AGENT_BYTES_MAX = 300e6;

test('8 GiB move with less than 300 MB of memory in the agent of each side', async (t) => {
  const guest = await lab.startGuest('a', { name: 'large', memory: '8G', writer: { set: '128M', rate: '10M' } });
  const pids = [await lab.agentPid('a'), await lab.agentPid('b')];
  const idle = pids.map(residentBytes);
  const peaks = [...idle];
  const ended = { yet: false };
  const done = lab.tryMigrate(guest, 'a', 'b', '--verify').finally(() => (ended.yet = true));
  let samples = 0;
  while (!ended.yet) {
    for (const [side, pid] of pids.entries()) peaks[side] = Math.max(peaks[side] ?? 0, residentBytes(pid));
    samples++;
    await sleep(SAMPLE_MS);
  }
  const { report, code, stderr, views } = await done;
  assert.equal(code, 0, stderr);
  assertReport(report);
  assertProgress(views);
  const inMb = (values: readonly number[]): string => values.map((bytes) => (bytes / 1e6).toFixed(0)).join(' and ');
  t.diagnostic(`agents of a and b: ${inMb(idle)} MB idle, ${inMb(peaks)} MB at most, of ${samples} samples`);
  t.diagnostic(
    `${report.totalMs.toFixed(0)} ms, downtime ${report.downtimeMs?.toFixed(0)} ms, ${report.bytes.wire} bytes`,
  );
  assert.equal(report.verified, true);
  assert.ok(report.pages.zero > report.pages.total * 0.9);
  assert.ok(samples > 10 && peaks.every((bytes) => bytes > 30e6), 'the samples are of the agents');
  for (const bytes of peaks) assert.ok(bytes < AGENT_BYTES_MAX, `${inMb(peaks)} MB at most`);
  await guest.moreWriterLines(10);
  guest.assertSound();
});

/** VmRSS with the pages of files and shared memory, as the kernel counts it. */
function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) * 1024;
}
