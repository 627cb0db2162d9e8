/** The limit of a real guest that runs: its memory is read from outside, and its guest agent says which pages are soft. */
import { promisify } from 'node:util';
import { constants, zstdCompress } from 'node:zlib';
import { GuestAgent } from '../../io/qemu/guest-agent.ts';
import { findGuestMemory, GuestMemoryReader } from '../../io/qemu/guest-memory.ts';
import { GuestPageReporter } from '../../io/qemu/guest-page-report.ts';
import type { QmpClient } from '../../io/qemu/qmp-client.ts';
import { measureLimit } from './limit.ts';
import type { Limit } from './limit.ts';

const PAGE_BYTES = 4096;
const LEVEL = 3;
const CALL = { timeoutMs: 10_000 };
const compress = promisify(zstdCompress);

export type LimitPlace = {
  readonly qmp: QmpClient;
  readonly pid: number;
  readonly qgaPath: string;
  readonly vm: string;
};

/** Takes about a second per GiB. Throws QmpError, GuestMemoryError, GuestAgentError. */
export async function limitOfGuest({ qmp, pid, qgaPath, vm }: LimitPlace): Promise<Limit> {
  const layout = await findGuestMemory(qmp, pid);
  const blocks = layout.blocks.filter(({ hva }) => hva !== null);
  const blockOf = new Map(blocks.map((block) => [block.name, block]));
  const reader = GuestMemoryReader.open(pid);
  const agent = await GuestAgent.connect({ socketPath: qgaPath, vm, timeoutMs: CALL.timeoutMs });
  const reporter = new GuestPageReporter(agent, layout.windows);
  try {
    return await measureLimit({
      blocks: blocks.map(({ name, usedBytes }) => ({ name, pages: Math.floor(usedBytes / PAGE_BYTES) })),
      read: (name, firstPage, target) => reader.read(blockOf.get(name)!, firstPage * PAGE_BYTES, target),
      unneeded: async (block, first, pages) =>
        (await reporter.report({ block, first, pages, rule: 'all' }, CALL)).unneeded,
      compressedBytes: async (piece) =>
        (await compress(piece, { params: { [constants.ZSTD_c_compressionLevel]: LEVEL } })).length,
    });
  } finally {
    await reporter.close(CALL).catch(() => undefined);
    agent.close();
    reader.close();
  }
}
