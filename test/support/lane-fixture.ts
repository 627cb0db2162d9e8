/** What the tests of this room share: guest memory in files, hosts with certificates, a pair of pools on the loopback. */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, type TestContext } from 'node:test';
import type { Worker } from 'node:worker_threads';
import { createTestAuthority } from './certificates.ts';
import { DestinationLanePool, type DestinationLaneOptions } from '../../src/io/lanes/destination-lane-pool.ts';
import type { LaneError } from '../../src/io/lanes/errors.ts';
import type { SentCounts, MemoryMap } from '../../src/io/lanes/lane-protocol.ts';
import { newLinkMemory } from '../../src/io/lanes/link-memory.ts';
import { SourceLanePool, type SourceLaneOptions } from '../../src/io/lanes/source-lane-pool.ts';

export const PAGE = 4096;
/** Two blocks with a gap in the numbering, as there is when a block is not a multiple of 2 MiB. */
export const FIRST_PAGES = 1500;
export const SECOND_START = 1536;
export const SECOND_PAGES = 700;
const folder = mkdtempSync(path.join(os.tmpdir(), 'lanes-'));
after(() => rmSync(folder, { recursive: true }));

export const authority = await createTestAuthority();
export const alpha = await authority.issue('alpha');
export const beta = await authority.issue('beta');
export const gamma = await authority.issue('gamma');
export const token = randomBytes(32).toString('hex');
let files = 0;

export function memoryFile(fill?: (page: number) => Buffer): {
  map: MemoryMap;
  file: string;
  read: (page: number) => Buffer;
} {
  const file = path.join(folder, `memory-${files++}`);
  const fd = fs.openSync(file, 'w+');
  fs.ftruncateSync(fd, (3 + FIRST_PAGES + SECOND_PAGES) * PAGE);
  const offsetOf = (page: number) => (page < SECOND_START ? 3 + page : 3 + FIRST_PAGES + page - SECOND_START) * PAGE;
  for (const page of allPages()) if (fill !== undefined) fs.writeSync(fd, fill(page), 0, PAGE, offsetOf(page));
  const map: MemoryMap = [
    { name: 'pc.ram', firstPage: 0, pageCount: FIRST_PAGES, path: file, offsetBytes: 3 * PAGE },
    {
      name: 'vram',
      firstPage: SECOND_START,
      pageCount: SECOND_PAGES,
      path: file,
      offsetBytes: (3 + FIRST_PAGES) * PAGE,
    },
  ];
  const read = (page: number) => {
    const out = Buffer.alloc(PAGE);
    fs.readSync(fd, out, 0, PAGE, offsetOf(page));
    return out;
  };
  after(() => fs.closeSync(fd));
  return { map, file, read };
}

export function allPages(): number[] {
  return Array.from({ length: FIRST_PAGES + SECOND_PAGES }, (_, i) =>
    i < FIRST_PAGES ? i : SECOND_START + i - FIRST_PAGES,
  );
}

/** A third zero, a third text-like, a third random. */
export function mixedPage(): Buffer {
  const kind = Math.random() * 3;
  if (kind < 1) return Buffer.alloc(PAGE);
  return kind < 2 ? Buffer.alloc(PAGE, `page ${Math.random()} `) : randomBytes(PAGE);
}

export class Recorder {
  readonly acked: number[][] = [];
  readonly verified = new Map<number, { pages: number; mismatches: Uint32Array }>();
  readonly sent: SentCounts[] = [];
  readonly failures: LaneError[] = [];
  readonly failed = Promise.withResolvers<LaneError>();
  #changed = Promise.withResolvers<void>();

  readonly events = {
    onSent: (_lane: number, _id: number, counts: SentCounts) => this.#note(() => this.sent.push(counts)),
    onAcked: (lane: number, id: number) => this.#note(() => (this.acked[lane] ??= []).push(id)),
    onVerified: (_lane: number, id: number, result: { pages: number; mismatches: Uint32Array }) =>
      this.#note(() => this.verified.set(id, result)),
    onFailed: (error: LaneError) =>
      this.#note(() => {
        this.failures.push(error);
        this.failed.resolve(error);
      }),
  };

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.failures[0] !== undefined) throw this.failures[0];
      await this.#changed.promise;
    }
  }

  #note(change: () => void): void {
    change();
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}

export type Setup = {
  lanes?: number;
  source?: Partial<SourceLaneOptions>;
  destination?: Partial<DestinationLaneOptions>;
  /** Default: the pools start their own. */
  threads?: { readonly source: readonly Worker[]; readonly destination: readonly Worker[] };
};

export const anyPort = { first: 0, last: 0 };

export async function start(t: TestContext, sourceMap: MemoryMap, destinationMap: MemoryMap, setup: Setup = {}) {
  const failed = Promise.withResolvers<LaneError>();
  const refused: string[] = [];
  const destination = new DestinationLanePool(
    {
      lanes: setup.lanes ?? 1,
      address: '127.0.0.1',
      ports: anyPort,
      peerName: 'alpha',
      tls: beta,
      token,
      memory: destinationMap,
      ...setup.destination,
    },
    { onFailed: failed.resolve, onRefused: (_lane, message) => refused.push(message) },
    setup.threads?.destination,
  );
  t.after(async () => await destination.stop());
  const ports = await destination.ready();
  const recorder = new Recorder();
  const linkMemory = newLinkMemory();
  const options = { host: '127.0.0.1', ports, peerName: 'beta', tls: alpha, token, memory: sourceMap, linkMemory };
  const source = new SourceLanePool(
    { ...options, compress: 'lz', deltaCacheBytes: 1 << 20, maxBandwidthBytesPerSecond: null, ...setup.source },
    recorder.events,
    setup.threads?.source,
  );
  t.after(async () => await source.stop());
  return { source, destination, recorder, ports, refused, destinationFailed: failed.promise };
}

/** Pairs of runs for these pages of one lane, cut so that no batch is too large. */
export function batchesOf(pages: readonly number[]): Uint32Array[] {
  const batches: number[][] = [[]];
  let room = 256;
  for (const page of pages) {
    if (room === 0) {
      batches.push([]);
      room = 256;
    }
    const batch = batches.at(-1)!;
    const sameRun =
      batch.length > 0 && page === batch.at(-2)! + batch.at(-1)! && page % 512 !== 0 && page !== SECOND_START;
    if (sameRun) batch[batch.length - 1]!++;
    else batch.push(page, 1);
    room--;
  }
  return batches.filter((batch) => batch.length > 0).map((batch) => Uint32Array.from(batch));
}
