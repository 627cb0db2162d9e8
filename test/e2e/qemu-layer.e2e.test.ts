/**
 * The QEMU adapters against real QEMUs: 7.2 and 10, software emulation, a guest that is only its firmware.
 * Binaries: VMFERRY_QEMU_72 and VMFERRY_QEMU_10, else the distribution's and the one that `npm run setup` brings.
 */
import assert from 'node:assert/strict';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { vmSpecSchema } from '../../src/core/model/vm.ts';
import { buildCommandLine } from '../../src/io/qemu/command-line.ts';
import { GpaMap } from '../../src/io/qemu/gpa-map.ts';
import { GuestAgent } from '../../src/io/qemu/guest-agent.ts';
import {
  assertMemoryAccess,
  findGuestMemory,
  GuestMemoryReader,
  type GuestMemoryLayout,
  type RamBlock,
} from '../../src/io/qemu/guest-memory.ts';
import {
  orderSwitchover,
  prepareDestination,
  prepareSource,
  restoreSettings,
  saveSettings,
  setParameters,
  waitForMigrationStatus,
  waitForRunState,
} from '../../src/io/qemu/migration-control.ts';
import { checkSourceReady, migrationFeatures } from '../../src/io/qemu/migration-features.ts';
import { bootTinyGuest, probeKvm, probeQemu, resolveMachine } from '../../src/io/qemu/probe.ts';
import { isAlive, startQemu, terminate, type StartedQemu } from '../../src/io/qemu/process.ts';
import type { QmpClient } from '../../src/io/qemu/qmp-client.ts';

const MIB = 1024 ** 2;
const binaries = {
  '7.2': process.env['VMFERRY_QEMU_72'] ?? '/usr/bin/qemu-system-x86_64',
  '10':
    process.env['VMFERRY_QEMU_10'] ??
    fileURLToPath(new URL('../../.cache/qemu-10/bin/qemu-system-x86_64', import.meta.url)),
};

type Running = StartedQemu & { readonly folder: string };

async function withQemu(
  binary: string,
  options: { readonly spec?: object; readonly incoming?: boolean },
  run: (vm: Running) => Promise<void>,
): Promise<void> {
  assert.ok(
    existsSync(binary),
    `${binary} is missing: run "npm run setup", or set VMFERRY_QEMU_10 and VMFERRY_QEMU_72`,
  );
  const folder = mkdtempSync(join(tmpdir(), 'vmferry-e2e-'));
  const spec = vmSpecSchema.parse({ name: 'layer', memory: '128MiB', networks: [{ type: 'user' }], ...options.spec });
  const host = { binary, runFolder: folder, accelerator: 'tcg', incoming: options.incoming ?? false } as const;
  let started: StartedQemu | null = null;
  try {
    started = await startQemu({ vm: 'layer', commandLine: buildCommandLine(spec, host) });
    await run({ ...started, folder });
  } finally {
    started?.qmp.close();
    if (started !== null) await terminate(started.process);
    rmSync(folder, { recursive: true, force: true });
  }
}

function blockNamed(layout: GuestMemoryLayout, name: string): RamBlock {
  const block = layout.blocks.find((candidate) => candidate.name === name);
  assert.ok(block !== undefined, `block ${name} is listed`);
  return block;
}

/** Guest physical memory as QEMU itself saves it. */
async function savedByQemu(qmp: QmpClient, folder: string, gpa: number, bytes: number): Promise<Buffer> {
  const file = join(folder, 'saved');
  assert.equal(await qmp.humanMonitor(`pmemsave ${gpa} ${bytes} "${file}"`), '');
  return readFileSync(file);
}

async function assertSameMemory({ qmp, process: { pid }, folder }: Running): Promise<number> {
  const layout = await findGuestMemory(qmp, pid);
  using reader = GuestMemoryReader.open(pid);
  let compared = 0;
  for (const window of new GpaMap(layout.windows).windows) {
    const block = blockNamed(layout, window.block);
    assert.notEqual(block.hva, null, `${block.name} has an address`);
    const ours = Buffer.alloc(window.bytes);
    reader.read(block, window.offset, ours);
    assert.ok(ours.equals(await savedByQemu(qmp, folder, window.gpa, window.bytes)), `${block.name} at ${window.gpa}`);
    if (ours.some((byte) => byte !== 0)) compared++;
  }
  return compared;
}

async function firmwareHasRun({ qmp, folder }: Running): Promise<void> {
  for (let i = 0; i < 200; i++) {
    // The firmware fills the interrupt vectors at address 0.
    const bytes = await savedByQemu(qmp, folder, 0, 1024);
    if (bytes.some((byte) => byte !== 0)) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  assert.fail('The firmware did not start');
}

for (const [version, binary] of Object.entries(binaries)) {
  test(`${version}: guest memory read from outside is what QEMU saves`, async () => {
    await withQemu(binary, {}, async (vm) => {
      await firmwareHasRun(vm);
      await vm.qmp.execute('stop');
      assert.ok((await assertSameMemory(vm)) >= 2, 'low memory and the firmware hold something');
      const layout = await findGuestMemory(vm.qmp, vm.process.pid);
      assert.equal(blockNamed(layout, 'pc.ram').usedBytes, 128 * MIB);
      assert.equal(blockNamed(layout, 'pc.ram').sharedFile, null);
      // 7.2 tells no addresses of blocks that the guest cannot see, so of pc.rom once the firmware put RAM in its place.
      const unseen = layout.blocks.filter(({ hva }) => hva === null).map(({ name }) => name);
      if (version === '7.2')
        assert.ok(
          unseen.every((name) => name.startsWith('/rom@') || name === 'pc.rom'),
          String(unseen),
        );
      else assert.deepEqual(unseen, []);
    });
  });

  test(`${version}: shared memory is found as a file and shows the guest's writes`, async () => {
    await withQemu(binary, { spec: { sharedMemory: true } }, async (vm) => {
      await firmwareHasRun(vm);
      await vm.qmp.execute('stop');
      const ram = blockNamed(await findGuestMemory(vm.qmp, vm.process.pid), 'pc.ram');
      assert.match(ram.sharedFile?.path ?? '', /^\/proc\/\d+\/fd\/\d+$/);
      assert.ok((await assertSameMemory(vm)) >= 2);
    });
  });

  test(`${version}: a waiting destination has empty memory that can be written from outside`, async () => {
    await withQemu(binary, { incoming: true }, async ({ qmp, process: { pid }, folder }) => {
      assert.equal(await qmp.runState(), 'inmigrate');
      const ram = blockNamed(await findGuestMemory(qmp, pid), 'pc.ram');
      assertMemoryAccess(pid, 'write');
      using reader = GuestMemoryReader.open(pid);
      const all = Buffer.alloc(ram.usedBytes);
      reader.read(ram, 0, all);
      assert.ok(all.equals(Buffer.alloc(ram.usedBytes)), 'nothing of another guest is in it');
      const pattern = Buffer.from('placed from outside'.repeat(100));
      const fd = openSync(`/proc/${pid}/mem`, 'r+');
      writeSync(fd, pattern, 0, pattern.length, (ram.hva ?? 0) + 64 * MIB);
      closeSync(fd);
      assert.ok(pattern.equals(await savedByQemu(qmp, folder, 64 * MIB, pattern.length)));
      await prepareDestination(qmp, await migrationFeatures(qmp));
    });
  });

  test(`${version}: a frozen QEMU is dead, a thawed one answers; out of band works`, async () => {
    await withQemu(binary, {}, async ({ qmp, process: { pid } }) => {
      assert.ok(qmp.oob);
      assert.equal(qmp.version.major, version === '10' ? 10 : 7);
      assert.ok((await qmp.executeOob('query-yank')).some((instance) => instance.type === 'chardev'));
      assert.equal(await qmp.checkMonitor(2000), 'answers');
      process.kill(pid, 'SIGSTOP');
      try {
        assert.equal(await qmp.checkMonitor(200), 'dead');
        await assert.rejects(qmp.execute('query-status', undefined, { timeoutMs: 100 }), { code: 'QMP_TIMEOUT' });
      } finally {
        process.kill(pid, 'SIGCONT');
      }
      assert.equal(await qmp.checkMonitor(2000), 'answers');
      const stopped = qmp.waitForEvent('STOP', null, { timeoutMs: 2000 });
      await qmp.execute('stop');
      assert.ok(Math.abs((await stopped).timestampUs / 1000 - Date.now()) < 5000);
      assert.equal(await waitForRunState(qmp, ['paused'], { timeoutMs: 2000 }), 'paused');
    });
  });

  test(`${version}: the process outlives nothing but itself, and quit ends it`, async () => {
    await withQemu(binary, {}, async ({ qmp, process: target }) => {
      assert.ok(isAlive(target));
      await qmp.execute('quit');
      assert.equal((await qmp.whenClosed).code, 'QMP_CLOSED');
      await terminate(target, { graceMs: 5000 });
      assert.ok(!isAlive(target));
      await assert.rejects(findGuestMemory(qmp, target.pid), { code: 'QMP_CLOSED' });
      assert.throws(() => GuestMemoryReader.open(target.pid), { code: 'MEMORY_GONE' });
    });
  });

  test(`${version}: a guest without agent is said to have none`, async () => {
    await withQemu(binary, {}, async ({ folder }) => {
      const options = { socketPath: join(folder, 'qga.sock'), vm: 'layer', timeoutMs: 200 };
      await assert.rejects(GuestAgent.connect(options), { code: 'QGA_ABSENT' });
    });
  });

  test(`${version}: settings for a migration are accepted and put back`, async () => {
    await withQemu(binary, {}, async ({ qmp }) => {
      assert.deepEqual(await checkSourceReady(qmp), []);
      const features = await migrationFeatures(qmp);
      assert.equal(features.switchoverAck, version === '10');
      assert.equal(features.availSwitchoverBandwidth, version === '10');
      const before = await saveSettings(qmp);
      await prepareSource(qmp, features);
      await setParameters(qmp, { maxBandwidthBytesPerSecond: 3, downtimeLimitMs: 1 }, features);
      assert.equal((await qmp.execute('query-migrate-parameters'))['max-bandwidth'], 10);
      await orderSwitchover(qmp, features);
      assert.notDeepEqual(await saveSettings(qmp), before);
      await restoreSettings(qmp, before);
      assert.deepEqual(await saveSettings(qmp), before);
      const capabilities = [{ capability: 'xbzrle', state: true }];
      await qmp.execute('migrate-set-capabilities', { capabilities });
      assert.match((await checkSourceReady(qmp))[0]?.message ?? '', /"xbzrle" is on/);
    });
  });

  test(`${version}: a migration into nowhere is reported as failed with QEMU's reason`, async () => {
    await withQemu(binary, {}, async ({ qmp, folder }) => {
      const start = async (): Promise<void> => {
        await qmp.execute('migrate', { uri: `unix:${join(folder, 'nobody')}` });
        await waitForMigrationStatus(qmp, ['completed'], { timeoutMs: 5000 });
      };
      await assert.rejects(start(), /Failed to connect|No such file/);
    });
  });

  test(`${version}: a disk that is not there is named when QEMU does not start`, async () => {
    const spec = { disks: [{ source: '/nonexistent/disk.img' }] };
    await assert.rejects(
      withQemu(binary, { spec }, async () => undefined),
      { code: 'QEMU_START', message: /Could not open '\/nonexistent\/disk\.img': No such file/ },
    );
  });

  test(`${version}: every device of a full spec is accepted on q35, pc and microvm`, async () => {
    const image = join(mkdtempSync(join(tmpdir(), 'vmferry-disk-')), 'disk.img');
    writeFileSync(image, Buffer.alloc(MIB));
    const disks = Array.from({ length: 3 }, (_, i) => ({
      source: image,
      readOnly: true,
      cache: i === 0 ? 'unsafe' : 'writethrough',
    }));
    for (const [machine, cards] of [
      ['q35', 8],
      ['pc', 8],
      ['microvm', 2],
    ] as const) {
      const networks = Array.from({ length: cards }, () => ({ type: 'user' }));
      await withQemu(binary, { spec: { machine, vcpus: 2, networks, sharedMemory: true, disks } }, async ({ qmp }) => {
        assert.equal((await qmp.execute('query-cpus-fast')).length, 2);
        assert.equal((await qmp.execute('query-block')).filter(({ inserted }) => inserted !== undefined).length, 3);
      });
    }
    rmSync(dirname(image), { recursive: true });
  });

  test(`${version}: the probe lists machine types and its test guest boots`, async () => {
    const probe = await probeQemu(binary);
    assert.match(resolveMachine(probe, 'q35') ?? '', /^pc-q35-\d/);
    assert.equal(resolveMachine(probe, 'pc-q35-6.2'), 'pc-q35-6.2');
    assert.equal(resolveMachine(probe, 'no-such-machine'), null);
    const booted = await bootTinyGuest(binary, 'tcg', 10_000);
    assert.ok(booted.works, JSON.stringify(booted));
    const kvm = await probeKvm(binary);
    assert.ok(kvm.works || kvm.reason.length > 0);
  });
}

test('a binary that is no QEMU is refused', async () => {
  await assert.rejects(probeQemu('/bin/true'), { code: 'QEMU_BINARY' });
  await assert.rejects(probeQemu('/nonexistent/qemu'), { code: 'QEMU_BINARY' });
});
