import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cpuCount, hostMemory, parseMemInfo } from './host-stat.ts';
import { ownCpuMs, parseCpuMs, parseResidentBytes, processCpuMs, residentBytes } from './process-stat.ts';

test('CPU time is counted behind a process name with blanks and parentheses', () => {
  const stat = '42 (a (b) c) S 1 42 42 0 -1 4194560 1 2 3 4 100 50 7 3 20 0 5 0 12345 1 2 3';
  assert.equal(parseCpuMs(stat), 1600);
  assert.equal(parseCpuMs(stat, 'alone'), 1500);
  assert.equal(parseCpuMs('broken'), null);
});

test('resident memory and host memory are given in bytes', () => {
  assert.equal(parseResidentBytes('Name:\tx\nVmRSS:\t   2048 kB\n'), 2 * 1024 ** 2);
  assert.equal(parseResidentBytes('Name:\tkthread\n'), null);
  assert.deepEqual(parseMemInfo('MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    400 kB\n'), {
    totalBytes: 1_024_000,
    availableBytes: 409_600,
  });
});

test('this process and this host have numbers, a process that is gone has none', () => {
  assert.ok((processCpuMs(process.pid) ?? -1) >= 0 && ownCpuMs() > 0);
  assert.ok((residentBytes(process.pid) ?? 0) > 1024 ** 2);
  assert.ok(hostMemory().totalBytes >= hostMemory().availableBytes && cpuCount() >= 1);
  assert.equal(processCpuMs(0), null);
  assert.equal(residentBytes(0), null);
});
