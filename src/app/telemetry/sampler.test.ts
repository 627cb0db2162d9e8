import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HostTelemetry } from '../../core/model/telemetry.ts';
import { vmSpecSchema } from '../../core/model/vm.ts';
import { silentLogger } from '../../io/log/logger.ts';
import { identify } from '../../io/qemu/process.ts';
import type { SampledVm } from './sampled-vm.ts';
import { Sampler, type SampleTiming } from './sampler.ts';

/** A process in place of a QEMU: it has figures of /proc, but no monitor. */
async function startProcess(t: TestContext, program: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['-e', program]);
  t.after(() => void child.kill('SIGKILL'));
  await once(child, 'spawn');
  return child;
}

function vmOf(name: string, pid: number): SampledVm {
  const found = identify(pid)!;
  return {
    ...{ name, state: 'running', migration: null, spec: vmSpecSchema.parse({ name, memory: '256M' }) },
    process: { ...found, qmpPath: '/nonexistent/qmp.sock', qgaPath: null },
  };
}

type Run = { readonly sampler: Sampler; readonly samples: [HostTelemetry, SampleTiming][] };

async function run(t: TestContext, vms: () => readonly SampledVm[], cores: number | null = null): Promise<Run> {
  const sampler = await Sampler.start({
    ...{ host: 'host-a', cores, memoryBytes: null, log: silentLogger, vms, peers: () => [] },
    refreshState: async () => await Promise.resolve(),
  });
  t.after(async () => await sampler.close());
  const samples: Run['samples'] = [];
  sampler.listen((sample, timing) => void samples.push([sample, timing]));
  return { sampler, samples };
}

async function until(isSo: () => boolean): Promise<void> {
  for (let tries = 0; !isSo(); tries++) {
    assert.ok(tries < 500, 'it did not come about');
    await sleep(20);
  }
}

test('a look each second, with its age, and rates from the second one on', async (t) => {
  const { sampler, samples } = await run(t, () => []);
  const first = await sampler.latest();
  assert.equal(first.host, 'host-a');
  assert.equal(first.cpu.usedCores, null);
  assert.ok(first.ageMs >= 0 && first.memory.totalBytes > 0);
  await until(() => samples.length >= 2);
  const [sample, { elapsedMs, tookMs }] = samples.at(-1)!;
  assert.ok((sample.cpu.usedCores ?? -1) >= 0);
  assert.ok((elapsedMs ?? 0) > 900 && (elapsedMs ?? 0) < 3000 && tookMs < 1000, `${elapsedMs}, ${tookMs}`);
});

test('a process that ends is gone from the next look; one whose figures fail does not stop the others', async (t) => {
  const [lives, ends] = [
    await startProcess(t, 'setInterval(() => 0, 1e6)'),
    await startProcess(t, 'setInterval(() => 0, 1e6)'),
  ];
  const [one, two] = [vmOf('one', lives.pid!), vmOf('two', ends.pid!)];
  const broken = {
    ...one,
    name: 'broken',
    get spec(): SampledVm['spec'] {
      throw new Error('no figures');
    },
  };
  const { samples } = await run(t, () => [broken, one, two]);
  const names = (): string[] => samples.at(-1)?.[0].vms.map(({ name }) => name) ?? [];
  await until(() => names().join() === 'one,two');
  const view = samples.at(-1)![0].vms[0]!;
  assert.equal(view.guestCores, null, 'without a monitor nobody knows which threads are vCPUs');
  assert.ok(view.memory.residentBytes > 2 ** 20);
  ends.kill('SIGKILL');
  await until(() => names().join() === 'one');
  const count = samples.length;
  await until(() => samples.length >= count + 2);
});

test('another process under the name of a VM begins anew, and so does a pid that means another process', async (t) => {
  const [first, second] = [await startProcess(t, 'for (;;);'), await startProcess(t, 'setInterval(() => 0, 1e6)')];
  let vm = vmOf('one', first.pid!);
  const { samples } = await run(t, () => [vm]);
  await until(() => samples.length >= 1 && samples.at(-1)![0].vms.length === 1);
  vm = vmOf('one', second.pid!);
  await until(() => samples.length >= 3);
  assert.equal(samples.at(-1)![0].vms[0]?.name, 'one');
  vm = { ...vm, process: { ...vm.process!, startTicks: 1 } };
  await until(() => samples.at(-1)![0].vms.length === 0);
});

test('a host that owns a part of the machine counts its own processes alone', async (t) => {
  await startProcess(t, 'for (;;);');
  const { samples } = await run(t, () => [], 0.5);
  await until(() => samples.length >= 3);
  const { cpu } = samples.at(-1)![0];
  assert.equal(cpu.cores, 0.5);
  assert.ok((cpu.usedCores ?? 9) < 0.6, `${cpu.usedCores}: the busy process is not its own`);
});

test('what a listener throws ends nothing, and closing ends all', async (t) => {
  const { sampler, samples } = await run(t, () => []);
  sampler.listen(() => {
    throw new Error('a full disk');
  });
  await until(() => samples.length >= 2);
  await sampler.close();
  const count = samples.length;
  await sleep(1200);
  assert.equal(samples.length, count);
});
