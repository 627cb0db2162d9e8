/**
 * The log workload of a guest: records that it has said to be synced, and the checks that every one of them is on the disk.
 * `filelog` (guests/programs/filelog.c) does the comparing, in the guest and on this machine.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createConnection } from 'node:net';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureGuestImages } from '../../guests/images.ts';
import type { HostName, LabHosts } from './lab-hosts.ts';
import { tail, type LabGuest } from './lab-guest.ts';

const POLL_MS = 50;
const RECORDS_TIMEOUT_MS = 30_000;
const GUEST_AGENT_TIMEOUT_MS = 20_000;

/** Sequence number of the newest record that the guest said to be synced; -1 before the first. */
export function lastSynced(guest: LabGuest): number {
  const text = guest.text();
  assert.doesNotMatch(text, /^L failed/m, `the log of "${guest.name}" failed`);
  let last = -1;
  for (const [, sequence] of text.matchAll(/^L seq=(\d+) ms=\d+\r?$/gm)) {
    assert.ok(Number(sequence) > last, `log of "${guest.name}": ${sequence} after ${last}`);
    last = Number(sequence);
  }
  return last;
}

/** Waits until the guest has synced `count` more records; returns the newest. */
export async function moreRecords(guest: LabGuest, count: number): Promise<number> {
  const wanted = lastSynced(guest) + count;
  const deadline = performance.now() + RECORDS_TIMEOUT_MS;
  for (;;) {
    const last = lastSynced(guest);
    if (last >= wanted) return last;
    assert.ok(
      performance.now() < deadline,
      `"${guest.name}" synced record ${last}, not ${wanted}:\n${tail(guest.text())}`,
    );
    await sleep(POLL_MS);
  }
}

/**
 * Lets the running guest read its whole log from the disk (its file cache is dropped first) where it is now, and demands
 * every record that it has said to be synced. Returns that record's number.
 */
export async function checkInGuest(lab: LabHosts, host: HostName, guest: LabGuest): Promise<number> {
  const last = lastSynced(guest);
  const script = `echo 3 > /proc/sys/vm/drop_caches && exec filelog check /log/records --at-least ${last}`;
  const { code, output } = await execInGuest(lab, host, guest.name, script);
  assert.equal(code, 0, `the log as "${guest.name}" reads it at host ${host}: ${output}, expected ${last} or more`);
  return last;
}

/** Checks the log on a raw image that no guest uses any more. The image's journal is replayed, as a mount would do. */
export function checkImage(image: string, atLeast: number): void {
  const records = `${image}.records`;
  const repaired = run('/usr/sbin/e2fsck', '-fy', image);
  assert.ok(repaired.code <= 1, `e2fsck: ${repaired.output}`);
  assert.doesNotMatch(repaired.output, /inode \d+|duplicate|corrupt/i, 'the file system is whole');
  run('/usr/sbin/debugfs', '-R', `dump /records ${records}`, image);
  const program = join(ensureGuestImages().programs, 'filelog');
  const checked = run(program, 'check', records, '--at-least', String(atLeast));
  assert.equal(checked.code, 0, `${checked.output.trim()}, expected ${atLeast} or more`);
}

function run(program: string, ...argv: string[]): { code: number; output: string } {
  const { status, stdout, stderr, error } = spawnSync(program, argv, { encoding: 'utf8' });
  if (error !== undefined) throw error;
  return { code: status ?? -1, output: `${stdout}${stderr}` };
}

/** Runs a shell script in the guest by its agent. */
async function execInGuest(
  lab: LabHosts,
  host: HostName,
  vm: string,
  script: string,
): Promise<{ code: number; output: string }> {
  const socket = createConnection(join(dirname(lab.consoleFile(host, vm)), 'qga.sock'));
  const signal = AbortSignal.timeout(GUEST_AGENT_TIMEOUT_MS);
  await once(socket, 'connect', { signal });
  const lines = createInterface({ input: socket });
  const ask = async (execute: string, args: object): Promise<Record<string, unknown>> => {
    const answer = once(lines, 'line', { signal });
    socket.write(`${JSON.stringify({ execute, arguments: args })}\n`);
    const parsed = JSON.parse(String((await answer)[0])) as { return?: Record<string, unknown> };
    assert.ok(parsed.return !== undefined, `${execute}: ${JSON.stringify(parsed)}`);
    return parsed.return;
  };
  try {
    const { pid } = await ask('guest-exec', { path: '/bin/sh', arg: ['-c', script], 'capture-output': true });
    for (;;) {
      const status = await ask('guest-exec-status', { pid });
      if (status['exited'] === true) {
        const output = [status['out-data'], status['err-data']].map((data) =>
          typeof data === 'string' ? Buffer.from(data, 'base64').toString() : '',
        );
        return { code: Number(status['exitcode']), output: output.join('').trim() };
      }
      await sleep(POLL_MS);
    }
  } finally {
    lines.close();
    socket.destroy();
  }
}
