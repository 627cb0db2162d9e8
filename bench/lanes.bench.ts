/**
 * Throughput, processor time and memory of lanes on the loopback, source and destination in two processes.
 *
 *     node bin/with-node24 bench/lanes.bench.ts [--guest MiB] [--send MiB] [--lanes 1,2] [--compress adaptive,lz,none] [--batch PAGES]
 *
 * Guest memory is a file in /dev/shm: per 8 pages five of a program's code in shuffled order, two random, one zero. The
 * hash at the end is of what the destination holds and must be that of the source.
 */
import { fork } from 'node:child_process';
import { createCipheriv, createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { DestinationLanePool } from '../src/io/lanes/destination-lane-pool.ts';
import type { LaneCompress, LaneTls, MemoryMap } from '../src/io/lanes/lane-protocol.ts';
import { newLinkMemory } from '../src/io/lanes/link-memory.ts';
import { SourceLanePool } from '../src/io/lanes/source-lane-pool.ts';
import { createTestAuthority } from '../test/support/certificates.ts';

const PAGE = 4096;
const CHUNK = 512;
/** Batches in flight per lane, as the pump has them. */
const WINDOW = 6;

type Job = { readonly lanes: number; readonly tls: LaneTls; readonly token: string; readonly memory: MemoryMap };
type Usage = { readonly cpuMs: number; readonly rssMiB: number };
type Result = Usage & { readonly seconds: number; readonly wireBytes: number; readonly destination: Usage };

async function destinationMain(): Promise<void> {
  const [job] = (await once(process, 'message')) as [Job];
  const pool = new DestinationLanePool(
    { ...job, address: '127.0.0.1', ports: { first: 0, last: 0 }, peerName: 'alpha' },
    {
      onFailed: (error) => {
        throw error;
      },
    },
  );
  const watch = watchUsage();
  process.send!({ ports: await pool.ready() });
  await pool.finished();
  process.send!(watch.stop());
  process.disconnect();
}

/** Processor time from now on, and the most memory seen. */
function watchUsage() {
  const before = process.cpuUsage();
  let rss = 0;
  const look = () => {
    rss = Math.max(rss, process.memoryUsage.rss());
  };
  const timer = setInterval(look, 50);
  return {
    stop(): Usage {
      clearInterval(timer);
      look();
      const { user, system } = process.cpuUsage(before);
      return { cpuMs: (user + system) / 1000, rssMiB: rss / 2 ** 20 };
    },
  };
}

/** Writes the guest's memory; the same for the same size. */
function makeGuest(file: string, mib: number): void {
  const program = fs.readFileSync(process.execPath);
  const programPages = Math.floor(program.length / PAGE);
  const noise = createCipheriv('aes-128-ctr', Buffer.alloc(16, 1), Buffer.alloc(16)).update(Buffer.alloc(1 << 22));
  const part = Buffer.alloc(CHUNK * PAGE);
  const fd = fs.openSync(file, 'w');
  let seed = 1;
  for (let at = 0; at < mib * 256; at += CHUNK) {
    for (let i = 0; i < CHUNK; i++) {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      const kind = i % 8;
      if (kind === 7) part.fill(0, i * PAGE, (i + 1) * PAGE);
      else if (kind > 4) noise.copy(part, i * PAGE, seed & 0x3f_efff, (seed & 0x3f_efff) + PAGE);
      else program.copy(part, i * PAGE, (seed % programPages) * PAGE, (seed % programPages) * PAGE + PAGE);
    }
    fs.writeSync(fd, part);
  }
  fs.closeSync(fd);
}

function blockOf(file: string, pageCount: number): MemoryMap {
  return [{ name: 'ram', firstPage: 0, pageCount, path: file, offsetBytes: 0 }];
}

type Run = { lanes: number; compress: LaneCompress; sendMiB: number; batch: number };
type World = { guest: string; copy: string; pages: number; alpha: LaneTls; beta: LaneTls };

async function measure(world: World, run: Run): Promise<Result> {
  const token = randomBytes(32).toString('hex');
  const child = fork(fileURLToPath(import.meta.url), ['--destination'], { execArgv: process.execArgv });
  child.send({ lanes: run.lanes, tls: world.beta, token, memory: blockOf(world.copy, world.pages) } satisfies Job);
  const [{ ports }] = (await once(child, 'message')) as [{ ports: number[] }];
  const reported = once(child, 'message') as Promise<[Usage]>;
  const allPlaced = Promise.withResolvers<void>();
  let wireBytes = 0;
  const perLane = Math.ceil((run.sendMiB * 256) / run.batch / run.lanes);
  let refill = (_lane: number): void => {};
  const pool = new SourceLanePool(
    {
      host: '127.0.0.1',
      ports,
      peerName: 'beta',
      tls: world.alpha,
      token,
      linkMemory: newLinkMemory(),
      memory: blockOf(world.guest, world.pages),
      compress: run.compress,
      deltaCacheBytes: 0,
      maxBandwidthBytesPerSecond: null,
    },
    {
      onSent: (_lane, _id, counts) => {
        wireBytes += counts.wireBytes;
      },
      onAcked: (lane, id) => {
        acked[lane] = id;
        refill(lane);
        if (acked.every((each) => each + 1 === perLane)) allPlaced.resolve();
      },
      onVerified: () => {},
      onFailed: (error) => {
        throw error;
      },
    },
  );
  const acked = Array.from({ length: run.lanes }, () => -1);
  const next = Array.from({ length: run.lanes }, () => 0);
  await pool.ready();
  const watch = watchUsage();
  const startMs = performance.now();
  refill = (lane) => {
    while (next[lane]! < perLane && next[lane]! - acked[lane]! <= WINDOW) {
      const id = next[lane]!++;
      // Batches walk through the lane's own chunks.
      const inChunk = CHUNK / run.batch;
      const chunk = (Math.floor(id / inChunk) * run.lanes + lane) % (world.pages / CHUNK);
      pool.send(lane, id, Uint32Array.of(chunk * CHUNK + (id % inChunk) * run.batch, run.batch));
    }
  };
  for (let lane = 0; lane < run.lanes; lane++) refill(lane);
  await allPlaced.promise;
  const closed = pool.close();
  const seconds = (performance.now() - startMs) / 1000;
  const [destination] = await reported;
  await closed;
  return { ...watch.stop(), seconds, wireBytes, destination };
}

function hashOf(file: string): string {
  const hash = createHash('sha1');
  const part = Buffer.alloc(1 << 22);
  const fd = fs.openSync(file, 'r');
  for (let got = fs.readSync(fd, part); got > 0; got = fs.readSync(fd, part)) hash.update(part.subarray(0, got));
  fs.closeSync(fd);
  return hash.digest('hex').slice(0, 16);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      guest: { type: 'string', default: '256' },
      send: { type: 'string', default: '1024' },
      lanes: { type: 'string', default: '1,2' },
      compress: { type: 'string', default: 'adaptive,lz,none' },
      batch: { type: 'string', default: '256' },
    },
  });
  const folder = mkdtempSync(path.join(fs.existsSync('/dev/shm') ? '/dev/shm' : os.tmpdir(), 'lanes-bench-'));
  const authority = await createTestAuthority();
  const [alpha, beta] = await Promise.all([authority.issue('alpha'), authority.issue('beta')]);
  const guest = path.join(folder, 'guest');
  const copy = path.join(folder, 'copy');
  try {
    const guestMiB = Number(values.guest);
    makeGuest(guest, guestMiB);
    console.log(
      'compress lanes  MB/s  MB/s/lane  ratio | ms CPU per GB: source destination | RSS MiB: source destination',
    );
    for (const compress of values.compress.split(',') as LaneCompress[]) {
      for (const lanes of values.lanes.split(',').map(Number)) {
        fs.writeFileSync(copy, '');
        fs.truncateSync(copy, guestMiB * 2 ** 20);
        const run = { lanes, compress, sendMiB: Number(values.send), batch: Number(values.batch) };
        const result = await measure({ guest, copy, pages: guestMiB * 256, alpha, beta }, run);
        report(run, result);
      }
    }
    const [expected, actual] = [hashOf(guest), hashOf(copy)];
    console.log(`checksum ${actual} ${actual === expected ? 'equal' : `DIFFERS from ${expected}`}`);
    if (actual !== expected) process.exitCode = 1;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function report(run: Run, result: Result): void {
  const bytes = run.sendMiB * 2 ** 20;
  const rate = bytes / result.seconds / 1e6;
  const cells = [
    run.compress.padEnd(8),
    String(run.lanes).padStart(5),
    rate.toFixed(0).padStart(5),
    (rate / run.lanes).toFixed(0).padStart(10),
    (bytes / result.wireBytes).toFixed(2).padStart(6),
    '|',
    (result.cpuMs / (bytes / 1e9)).toFixed(0).padStart(21),
    (result.destination.cpuMs / (bytes / 1e9)).toFixed(0).padStart(11),
    '|',
    result.rssMiB.toFixed(0).padStart(15),
    result.destination.rssMiB.toFixed(0).padStart(11),
  ];
  console.log(cells.join(' '));
}

await (process.argv.includes('--destination') ? destinationMain() : main());
