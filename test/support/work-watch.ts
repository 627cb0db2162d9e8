/** The programs that tell how much they did (docs/workloads.md), as an end-to-end test follows them. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseWorkLines } from '../../guests/spec.ts';
import type { WorkLine } from '../../guests/spec.ts';
import type { LabGuest } from './lab-guest.ts';
import { tail } from './lab-guest.ts';

const POLL_MS = 50;

/** The lines of one program so far. */
export function workLinesOf(guest: LabGuest, name: string): WorkLine[] {
  return parseWorkLines(guest.text()).filter((line) => line.name === name);
}

/** Waits until each program has done more and has said so in two further lines. Fails where one stands still. */
export async function workOn(guest: LabGuest, names: readonly string[], timeoutMs = 60_000): Promise<void> {
  const before = new Map(names.map((name) => [name, workLinesOf(guest, name).at(-1)]));
  const hasGoneOn = (name: string): boolean => {
    const last = workLinesOf(guest, name).at(-1);
    const from = before.get(name) ?? { sequence: 0, work: 0 };
    return last !== undefined && last.sequence >= from.sequence + 2 && last.work > from.work;
  };
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const standing = names.filter((name) => !hasGoneOn(name));
    if (standing.length === 0) return;
    if (performance.now() > deadline) {
      assert.fail(`${standing.join(', ')} of "${guest.name}" did not go on in ${timeoutMs} ms:\n${tail(guest.text())}`);
    }
    await sleep(POLL_MS);
  }
}

/** No program found a wrong result or ended, no line is broken or missing, and no clock or count went back. */
export function assertWorkSound(guest: LabGuest, names: readonly string[]): void {
  const text = guest.text();
  assert.doesNotMatch(text, /^BAD |^RUN /m, `"${guest.name}":\n${tail(text)}`);
  assert.doesNotMatch(text, /Oops|Kernel panic|BUG:|segfault|EXT4-fs error/);
  const complete = text.slice(0, text.lastIndexOf('\n') + 1);
  assert.equal(parseWorkLines(complete).length, complete.match(/^R .*$/gm)?.length, 'every line is whole');
  for (const name of names) {
    for (const [index, line] of workLinesOf(guest, name).entries()) {
      assert.deepEqual([line.sequence, line.failures], [index + 1, 0], `${name} at ${line.guestMs} ms`);
      const before = workLinesOf(guest, name)[index - 1];
      if (before !== undefined) assert.ok(line.work >= before.work && line.guestMs > before.guestMs, 'time goes on');
    }
  }
}
