/**
 * What lanes would make of a guest's pages: some of them are packed at the levels in question, by the packer that lanes use, and the level is
 * the one that the lanes' control settles at (core/compress/compression-control.ts), by the same measure.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { weighed } from '../../core/compress/compression-control.ts';
import { compressionLevels, LZ, STORE } from '../../core/compress/levels.ts';
import { LANE_PAGE_BYTES as PAGE } from '../../core/wire/lane-limits.ts';
import { FramePacker } from './frame-packer.ts';
import type { PackerOptions } from './frame-packer.ts';
import { threadCpuMs } from './thread-cpu.ts';

export type TrialConditions = Pick<PackerOptions, 'compress' | 'lanes' | 'maxBandwidthBytesPerSecond'> & {
  /** Of all lanes together. */
  readonly linkMsPerByte: number;
  /** While the migration runs: of a processor the part that a lane gets. */
  readonly laneShare: number;
  /** Processor time of a page beside its packing, at the source; and all that it takes at the destination. */
  readonly carried: { readonly msPerPage: number; readonly msPerByte: number };
  readonly placedMsPerPage: number;
  /** This one alone: lanes have one level for whatever they send. */
  readonly level?: number;
};

export type PackingTrial = {
  /** Index in `compressionLevels`. */
  readonly level: number;
  /** Of a page with content: its bytes on the wire, and the processor time of packing it. */
  readonly packedBytesPerPage: number;
  readonly packMsPerPage: number;
  /** Where other levels are about as good, lanes may well be at one of them: the bytes between which it will be. */
  readonly low: number;
  readonly high: number;
};

/** Of a page, at one level. */
type Packed = {
  readonly level: number;
  readonly bytes: number;
  readonly ms: number;
  readonly waitsForLink: boolean;
  /** Its time, and as in the lanes' control a little for its bytes. */
  readonly weight: number;
  /** That less what holds lanes back from it. */
  readonly bareWeight: number;
};

/** Levels that come so close to the best one are chosen now and then; so are lighter ones that would be quicker than it. */
const ALIKE = 1.05;
/**
 * Lanes begin at LZ, try nothing lighter in their first seconds, and leave it only for a clear gain that several spans promise:
 * moves of guests for which storing was expected to be up to a half quicker were packed at LZ all the same.
 */
const LIGHTER = 1.6;

/** `batches`: pages that hold something, as lanes put them together. Throws AbortError. */
export async function tryPacking(
  batches: readonly Buffer[],
  conditions: TrialConditions,
  signal: AbortSignal,
): Promise<PackingTrial> {
  const { compress, level: given } = conditions;
  const begin = given ?? (compress === 'none' ? STORE : LZ);
  if (batches.length === 0) return { level: begin, packedBytesPerPage: PAGE, packMsPerPage: 0, low: PAGE, high: PAGE };
  const first = await packedAt(begin, batches, conditions, signal);
  const results = [first];
  if (compress === 'adaptive' && given === undefined) {
    for (const level of levelsBeside(first)) results.push(await packedAt(level, batches, conditions, signal));
  }
  const best = results.reduce((least, each) => (each.weight < least.weight ? each : least));
  const alike = results.filter(({ bareWeight }) => bareWeight <= ALIKE * best.weight).map(({ bytes }) => bytes);
  return {
    ...{ level: best.level, packedBytesPerPage: best.bytes, packMsPerPage: best.ms },
    ...{ low: Math.min(...alike), high: Math.max(...alike) },
  };
}

/** Who waits for the link at LZ can only win by sending less, whoever does not by working less: each kind is spared the other's levels. */
function levelsBeside({ waitsForLink }: Packed): readonly number[] {
  return compressionLevels.map((_, level) => level).filter((level) => (waitsForLink ? level > LZ : level < LZ));
}

async function packedAt(
  level: number,
  batches: readonly Buffer[],
  conditions: TrialConditions,
  signal: AbortSignal,
): Promise<Packed> {
  const packer = new FramePacker({ ...conditions, level });
  const sum = { pages: 0, bytes: 0, ms: 0 };
  // Whoever packs first makes room for all.
  packedBatch(packer, batches[0]!);
  for (const batch of batches) {
    const { bytes, ms } = packedBatch(packer, batch);
    sum.pages += batch.length / PAGE;
    sum.bytes += bytes;
    sum.ms += ms;
    await nextTurn();
    signal.throwIfAborted();
  }
  const [bytes, ms] = [sum.bytes / sum.pages, sum.ms / sum.pages];
  const { workMs, linkMs } = timesOf(bytes, ms, conditions);
  const bareWeight = weighed(Math.max(workMs, linkMs), linkMs, bytes / PAGE);
  const weight = bareWeight * (level < LZ ? LIGHTER : 1);
  return { level, bytes, ms, waitsForLink: linkMs > workMs, weight, bareWeight };
}

/** `ms`: of the processor, in steps of about one: true on average. By the clock, a thread that loses its processor seems slow. */
function packedBatch(packer: FramePacker, batch: Buffer): { readonly bytes: number; readonly ms: number } {
  // The packed bytes replace the pages.
  const pages = Buffer.from(batch);
  const startMs = threadCpuMs();
  const bytes = packer.pack(pages, 0, batch.length);
  return { bytes: bytes === 0 ? batch.length : bytes, ms: threadCpuMs() - startMs };
}

/** Of a page: the time of source or destination, whichever is slower, and that of the link. */
function timesOf(
  bytes: number,
  packMs: number,
  conditions: TrialConditions,
): { readonly workMs: number; readonly linkMs: number } {
  const { lanes, laneShare, carried, placedMsPerPage, linkMsPerByte, maxBandwidthBytesPerSecond } = conditions;
  const sourceMs = (packMs + carried.msPerPage + carried.msPerByte * bytes) / laneShare;
  const capMsPerByte = maxBandwidthBytesPerSecond === null ? 0 : 1000 / maxBandwidthBytesPerSecond;
  // A lane has its part of the link.
  const linkMs = bytes * lanes * Math.max(linkMsPerByte, capMsPerByte);
  return { workMs: Math.max(sourceMs, placedMsPerPage), linkMs };
}
