/**
 * A control group holds a real QEMU with all of its threads to its cap, and leaves nothing behind. What is compared are uses
 * of the same guest, so a busy machine does not matter.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { CpuGroup, findCpuHierarchy, groupPathOf } from '../../src/io/hoststat/cpu-group.ts';
import { HostStatError } from '../../src/io/hoststat/errors.ts';
import { processCpuMs } from '../../src/io/hoststat/process-stat.ts';
import { useLab } from '../support/lab-hosts.ts';
import { workOn } from '../support/work-watch.ts';

const lab = useLab();
/** Twenty periods. */
const WINDOW_MS = 2000;
/** A process may run over in a period, and pays for it in the next ones; USER_HZ rounds to 10 ms. */
const OVER_MAX = 1.15;
const SETTLE_MS = 300;

/** Processors that it used, 1 being one of them. */
async function useOf(pid: number): Promise<number> {
  await sleep(SETTLE_MS);
  const [beforeMs, beginMs] = [processCpuMs(pid), performance.now()];
  await sleep(WINDOW_MS);
  const [afterMs, endMs] = [processCpuMs(pid), performance.now()];
  assert.ok(beforeMs !== null && afterMs !== null, 'QEMU runs');
  return (afterMs - beforeMs) / (endMs - beginMs);
}

const name = `vmferry-test-${process.pid}`;

/** The reason where this host lets nobody make groups. */
async function tryCreate(): Promise<CpuGroup | string> {
  try {
    return await CpuGroup.create(name);
  } catch (error) {
    assert.ok(error instanceof HostStatError && error.code === 'CPU_GROUP', String(error));
    return error.message;
  }
}

test('a cap holds for all threads of a QEMU, can be changed, and is gone with its group', async (t) => {
  const left = await tryCreate();
  if (typeof left === 'string') return t.skip(left);
  const { version } = findCpuHierarchy(readFileSync('/proc/mounts', 'utf8'))!;
  const programs = ['dhrystone', 'dhrystone'];
  const guest = await lab.startGuest('a', { name: 'capped', memory: '256M', vcpus: 2, programs });
  await workOn(guest, ['dhrystone']);
  const pid = (await lab.vms('a')).find((vm) => vm.name === 'capped')?.pid;
  assert.ok(typeof pid === 'number');
  const groupOf = (): string | null => groupPathOf(readFileSync(`/proc/${pid}/cgroup`, 'utf8'), version);
  const free = await useOf(pid);
  assert.ok(free > 1.2, `two virtual processors use ${free} processors where nothing caps them`);

  // A program that was killed leaves its group: the next one of that name removes it.
  left.add(pid);
  left.setCap(10);
  const group = await CpuGroup.create(name);
  const origin = groupOf();
  assert.equal(origin, '/');
  const use: Record<string, number> = {};
  try {
    group.add(pid);
    assert.ok(groupOf()?.endsWith(`/${name}`));
    for (const cap of [50, 25]) {
      group.setCap(cap);
      use[cap] = await useOf(pid);
    }
  } finally {
    await group.remove();
  }
  t.diagnostic(`free ${free}, capped ${JSON.stringify(use)}`);
  assert.ok(!existsSync(group.folder), 'the group is gone');
  assert.equal(groupOf(), origin, 'QEMU is where it was');
  const { 50: half = NaN, 25: quarter = NaN } = use;
  assert.ok(half <= 0.5 * OVER_MAX && quarter <= 0.25 * OVER_MAX, JSON.stringify(use));
  // What else runs on this machine may take something from it; the caps alone do not.
  assert.ok(half / quarter > 1.5 && half > free / 5, JSON.stringify(use));
  assert.ok((await useOf(pid)) > half * 1.5, 'it is not capped any more');
});
