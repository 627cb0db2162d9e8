/** The guest program that checks all that it has (guests/programs/churn.c), as an end-to-end test follows it. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseChurnLines } from '../../guests/spec.ts';
import type { ChurnLine } from '../../guests/spec.ts';
import type { LabGuest } from './lab-guest.ts';
import { tail } from './lab-guest.ts';

const POLL_MS = 50;

/** Waits until it has compared so many MiB more, and returns all that it said. Fails where it stands still. */
export async function churnOn(guest: LabGuest, mib: number, timeoutMs = 60_000): Promise<ChurnLine[]> {
  const from = parseChurnLines(guest.text()).at(-1)?.mibCompared ?? 0;
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const lines = parseChurnLines(guest.text());
    if ((lines.at(-1)?.mibCompared ?? 0) >= from + mib) return lines;
    if (performance.now() > deadline) {
      assert.fail(`"${guest.name}" did not compare ${mib} MiB within ${timeoutMs} ms:\n${tail(guest.text())}`);
    }
    await sleep(POLL_MS);
  }
}

/** Nothing was found damaged, no line is broken or missing, and the kernel did not complain. */
export function assertChurnSound(guest: LabGuest): ChurnLine {
  const text = guest.text();
  assert.doesNotMatch(text, /^BAD /m, `"${guest.name}" found damage:\n${tail(text)}`);
  assert.doesNotMatch(text, /Oops|Kernel panic|BUG:|segfault|pagealloc: memory corruption|EXT4-fs error/);
  const lines = parseChurnLines(text);
  const complete = text.slice(0, text.lastIndexOf('\n') + 1);
  assert.equal(lines.length, complete.match(/^C .*$/gm)?.length, 'every line is whole');
  for (const [index, line] of lines.entries()) {
    assert.equal(line.damagedPages, 0, `damaged pages after ${line.steps} steps`);
    const before = lines[index - 1];
    if (before !== undefined) assert.ok(line.steps >= before.steps && line.guestMs > before.guestMs, 'time goes on');
  }
  const last = lines.at(-1);
  assert.ok(last !== undefined && last.freshPages > 0, 'it has said something');
  return last;
}
