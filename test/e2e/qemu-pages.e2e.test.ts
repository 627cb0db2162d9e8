/**
 * What a guest reports as free is that page of that RAM block: below and above the hole under 4 GiB, and in a DIMM. With
 * init_on_free every free page holds zeros, so a page that were taken for another would show. QEMU 7.2 and 10.
 *
 * Nothing is moved: under software emulation QEMU 10.0 aborts in any migration of a guest with a DIMM (docs/qemu-stream.md).
 */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { guestSpec } from '../../guests/spec.ts';
import { vmSpecSchema } from '../../src/core/model/vm.ts';
import { buildCommandLine } from '../../src/io/qemu/command-line.ts';
import { GuestAgent } from '../../src/io/qemu/guest-agent.ts';
import { readGuestText, writeGuestText } from '../../src/io/qemu/guest-files.ts';
import { findGuestMemory, GuestMemoryReader } from '../../src/io/qemu/guest-memory.ts';
import type { RamBlock } from '../../src/io/qemu/guest-memory.ts';
import { GuestPageReporter } from '../../src/io/qemu/guest-page-report.ts';
import { startQemu, terminate } from '../../src/io/qemu/process.ts';
import { qemuBinaries } from '../support/lab-hosts.ts';
import { until } from '../support/outside-view.ts';

const MIB = 2 ** 20;
const CHUNK_PAGES = 16_384;

describe('QEMU', { concurrency: true }, () => {
  for (const [version, binary] of Object.entries(qemuBinaries)) {
    test(`${version}: pages that a guest calls free are its free pages, in every block and window`, async (t) => {
      const folder = mkdtempSync(join(tmpdir(), 'vmferry-e2e-'));
      const spec = vmSpecSchema.parse(
        guestSpec({
          ...{ name: 'report', machine: 'pc-q35-7.2', memory: '3G', cache: '64M' },
          kernelWords: ['init_on_free=1', 'memhp_default_state=online'],
          qemuArguments: [
            ...['-m', 'slots=2,maxmem=8G', '-object', 'memory-backend-ram,id=dimm0,size=256M'],
            ...['-device', 'pc-dimm,id=d0,memdev=dimm0'],
          ],
        }),
      );
      const host = { binary, runFolder: folder, accelerator: 'tcg', incoming: false } as const;
      const commandLine = buildCommandLine(spec, host);
      const { process: target, qmp } = await startQemu({ vm: 'report', commandLine });
      try {
        const console = commandLine.paths.consoleLog;
        await until(
          'the guest is ready',
          () => existsSync(console) && /^READY /m.test(readFileSync(console, 'latin1')),
        );
        using agent = await GuestAgent.connect({ socketPath: commandLine.paths.agentSocket, vm: 'report' });
        const { blocks, windows } = await findGuestMemory(qmp, target.pid);
        const inHole = windows.filter(({ block }) => block === 'pc.ram').map(({ gpa }) => gpa);
        assert.ok(Math.max(...inHole) === 4096 * MIB, 'memory goes on at 4 GiB');
        await writeGuestText(agent, '/proc/sys/vm/drop_caches', '1');
        const reporter = new GuestPageReporter(agent, windows);
        using reader = GuestMemoryReader.open(target.pid);
        let freePages = 0;
        for (const block of blocks.filter(({ name }) => name === 'pc.ram' || name === 'dimm0')) {
          const found = await countFree(reporter, block);
          const wrong = notZero(reader, block, found.free);
          t.diagnostic(`${block.name}: ${found.pages} free pages of ${block.usedBytes / 4096}, ${wrong} not zero`);
          assert.ok(found.pages > (block.usedBytes / 4096) * 0.8, `${block.name}: most of it is free`);
          // The guest runs on: a few of them may be in use by now.
          assert.ok(wrong < 64, `${wrong} free pages of ${block.name} are not zero`);
          freePages += found.pages;
        }
        await reporter.close({});
        const memFree = Number(/^MemFree: +(\d+) kB/m.exec(await readGuestText(agent, '/proc/meminfo'))?.[1]) / 4;
        // MemFree also counts pages on the processors' own lists, which are not free for us.
        assert.ok(Math.abs(freePages - memFree) < 4096, `${freePages} free pages, the guest says ${memFree}`);
      } finally {
        qmp.close();
        await terminate(target);
        rmSync(folder, { recursive: true, force: true });
      }
    });
  }
});

async function countFree(
  reporter: GuestPageReporter,
  { name, usedBytes }: RamBlock,
): Promise<{ pages: number; free: number[] }> {
  const free: number[] = [];
  for (let first = 0; first < usedBytes / 4096; first += CHUNK_PAGES) {
    const pages = Math.min(CHUNK_PAGES, usedBytes / 4096 - first);
    const { unneeded } = await reporter.report({ block: name, first, pages, rule: 'none' }, {});
    for (let n = 0; n < pages; n++) if (((unneeded[n >>> 5] ?? 0) & (1 << (n & 31))) !== 0) free.push(first + n);
  }
  return { pages: free.length, free };
}

/** How many of the pages hold something. Only every third is looked at, which finds a shift just as well. */
function notZero(reader: GuestMemoryReader, block: RamBlock, pages: readonly number[]): number {
  const page = Buffer.alloc(4096);
  const zero = Buffer.alloc(4096);
  let found = 0;
  for (const [index, number] of pages.entries()) {
    if (index % 3 !== 0) continue;
    reader.read(block, number * 4096, page);
    if (!page.equals(zero)) found++;
  }
  return found;
}
