/**
 * Every program of guests/programs/work.c works in a guest, is moved under load with all of its memory compared, and goes
 * on without a wrong result. That these programs would find one is what the last test shows, without a guest.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, symlinkSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureGuestImages } from '../../guests/images.ts';
import { parseWorkLines } from '../../guests/spec.ts';
import type { GuestOptions } from '../../guests/spec.ts';
import { useLab } from '../support/lab-hosts.ts';
import { assertReport } from '../support/report-checks.ts';
import { assertWorkSound, workLinesOf, workOn } from '../support/work-watch.ts';

const lab = useLab();

const guests: readonly (GuestOptions & { readonly works: readonly string[] })[] = [
  {
    name: 'kernels',
    works: ['dhrystone', 'linpack', 'livermore', 'memhold', 'mailfiles'],
    programs: ['dhrystone', 'linpack,1M', 'livermore', 'memhold,48M'],
    mail: { files: 200 },
  },
  { name: 'grids', works: ['mg', 'is', 'sp', 'bt'], programs: ['mg,8M', 'is,12M', 'sp,8M', 'bt,8M'], vcpus: 2 },
];

for (const { works, ...options } of guests) {
  test(`${works.join(', ')} go on after a move, and find no wrong result`, async (t) => {
    const guest = await lab.startGuest('a', { memory: '256M', ...options });
    await workOn(guest, works);
    const { report } = await lab.migrate(guest, 'a', 'b', '--verify');
    assertReport(report);
    assert.equal(report.verified, true);
    await workOn(guest, works);
    assertWorkSound(guest, works);
    const { totalMs, downtimeMs, rounds } = report;
    t.diagnostic(`total ${totalMs.toFixed(0)} ms, downtime ${downtimeMs?.toFixed(0)} ms, ${rounds.length} rounds`);
    t.diagnostic(works.map((name) => `${name} ${workLinesOf(guest, name).at(-1)?.work}`).join(', '));
    await lab.ok('b', 'vm', 'stop', guest.name, '--force');
  });
}

/** Overwrites words all over the program's largest mapping, through /proc/PID/mem, as lost or stale pages would. */
function damage(pid: number): void {
  // A program that has just crashed has no mappings any more.
  if (!existsSync(`/proc/${pid}/maps`)) return;
  const maps = readFileSync(`/proc/${pid}/maps`, 'latin1').matchAll(/^([0-9a-f]+)-([0-9a-f]+) rw-p .*?(\S*)$/gm);
  const sizes = Array.from(maps, ([, from = '', to = '', name = '']) => ({
    ...{ name, start: Number.parseInt(from, 16), bytes: Number.parseInt(to, 16) - Number.parseInt(from, 16) },
  }));
  const [largest] = sizes.filter(({ name }) => name !== '[stack]').sort((one, other) => other.bytes - one.bytes);
  if (largest === undefined) return;
  const memory = openSync(`/proc/${pid}/mem`, 'r+');
  for (let at = 1024; at + 8 < largest.bytes; at += 4096) {
    writeSync(memory, new Uint8Array([1, 2, 3, 4, 5, 6, 0xf0, 0x3f]), 0, 8, largest.start + at);
  }
  closeSync(memory);
}

type Damageable = readonly [name: string, ...argv: string[]];
/** More than the 8 MiB of a thread's stack, so that the largest mapping is what they work on. */
const damageable: readonly Damageable[] = [
  ['linpack', '12M'],
  ['mg', '32M'],
  ['is', '24M'],
  ['sp', '24M'],
  ['bt', '24M'],
  ['memhold', '24M'],
];

test('programs whose memory is damaged find it', { timeout: 60_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vmferry-work-'));
  try {
    await Promise.all(
      damageable.map(async (program) => {
        symlinkSync(join(ensureGuestImages().programs, 'work'), join(folder, program[0]));
        // A word that leads a program astray ends it before it can check anything: then once more.
        for (let attempt = 1; !(await findsDamage(folder, program)); attempt++)
          assert.ok(attempt < 5, `${program[0]} crashes`);
      }),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** False when it crashed before it said anything. */
async function findsDamage(folder: string, [name, ...argv]: Damageable): Promise<boolean> {
  const child = spawn(join(folder, name), argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    let text = '';
    child.stdout.setEncoding('latin1').on('data', (more: string) => (text += more));
    const lines = () => parseWorkLines(text);
    while ((lines().at(-1)?.sequence ?? 0) < 2) await sleep(20);
    assert.equal(lines().at(-1)?.failures, 0, `${name} is sound before: ${text}`);
    // Again and again: what is damaged just before it is made anew is no damage.
    while (lines().at(-1)?.failures === 0) {
      if (child.signalCode !== null) return false;
      assert.equal(child.exitCode, null, `${name} has ended: ${text}`);
      damage(child.pid!);
      await sleep(200);
    }
    assert.match(text, new RegExp(`^BAD ${name}: `, 'm'));
    return true;
  } finally {
    child.kill('SIGKILL');
  }
}
