/**
 * What a lane would make of a guest's pages: some of them are packed with the packer that lanes use, whose control finds the level
 * that suits the link, as if the batches went over it one after the other.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { BYTES_WEIGHT, CompressionControl } from '../../core/compress/compression-control.ts';
import { LZ, STORE } from '../../core/compress/levels.ts';
import { LANE_PAGE_BYTES as PAGE } from '../../core/wire/lane-limits.ts';
import { FramePacker } from './frame-packer.ts';
import type { PackerOptions } from './frame-packer.ts';

export type TrialConditions = Pick<PackerOptions, 'compress' | 'lanes' | 'maxBandwidthBytesPerSecond'> & {
  /** Of all lanes together. */
  readonly linkMsPerByte: number;
  /** While the migration runs: of the source's processor time the share that nobody uses, and of a processor the part that a lane gets. */
  readonly hostIdle: number;
  readonly laneShare: number;
  /** Processor time of a page beside its packing, at the source; and all that it takes at the destination. */
  readonly carried: { readonly msPerPage: number; readonly msPerByte: number };
  readonly placedMsPerPage: number;
};

export type PackingTrial = {
  /** Of a page with content: its bytes on the wire, and the processor time of packing it. */
  readonly packedBytesPerPage: number;
  readonly packMsPerPage: number;
  /** Where another level is as quick, lanes may well choose that one: the bytes between which it will be. */
  readonly low: number;
  readonly high: number;
};

/** A level that takes this much longer is chosen by mistake in one case of four. */
const ALIKE = 0.1;

/** The quickest of so many tells the processor time: a thread that loses its processor in a batch seldom does so in both. The kernel's count has steps of a tick. */
const TRIES = 2;

/** A span of a lane's life is some 100 ms; a batch is less, and what one batch teaches is enough here. */
const PASSES_MAX = 4;

/** `batches`: pages that hold something, as lanes put them together. Throws AbortError. */
export async function tryPacking(
  batches: readonly Buffer[],
  conditions: TrialConditions,
  signal: AbortSignal,
): Promise<PackingTrial> {
  if (batches.length === 0) return { packedBytesPerPage: PAGE, packMsPerPage: 0, low: PAGE, high: PAGE };
  const trial = new Trial(conditions);
  let last: Packed = { bytes: 0, ms: 0 };
  for (let pass = 1; pass <= PASSES_MAX; pass++) {
    const levelBefore = trial.level;
    last = await overAll(batches, (batch) => trial.pack(batch), signal);
    // The first pass also pays for the code that is compiled.
    if (pass > 1 && trial.level === levelBefore) break;
  }
  if (conditions.compress !== 'adaptive') return between(last, last, 0);
  const otherLevel = trial.level === STORE ? LZ : STORE;
  const other = await overAll(batches, (batch) => trial.packAt(otherLevel, batch), signal);
  const longer = trial.weightOf(other) / trial.weightOf(last) - 1;
  return between(last, other, 1 / (1 + Math.exp(longer / ALIKE)));
}

/** Of a page. */
type Packed = { readonly bytes: number; readonly ms: number };

async function overAll(
  batches: readonly Buffer[],
  pack: (batch: Buffer) => Packed,
  signal: AbortSignal,
): Promise<Packed> {
  const sum = { pages: 0, bytes: 0, ms: 0 };
  for (const batch of batches) {
    const { bytes, ms } = pack(batch);
    sum.pages += batch.length / PAGE;
    sum.bytes += bytes;
    sum.ms += ms;
    await nextTurn();
    signal.throwIfAborted();
  }
  return { bytes: sum.bytes / sum.pages, ms: sum.ms / sum.pages };
}

/** `share`: of the bytes that will be packed as `other` is. */
function between(chosen: Packed, other: Packed, share: number): PackingTrial {
  const at = (part: number): number => chosen.bytes + part * (other.bytes - chosen.bytes);
  const ends = [chosen.bytes, at(Math.min(1, 2 * share))];
  return {
    ...{ packedBytesPerPage: at(share), packMsPerPage: chosen.ms + share * (other.ms - chosen.ms) },
    ...{ low: Math.min(...ends), high: Math.max(...ends) },
  };
}

class Trial {
  readonly #conditions: TrialConditions;
  readonly #msPerByte: number;
  /** Null where the level is given. */
  readonly #control: CompressionControl | null;
  readonly #packers = new Map<number, FramePacker>();
  #scratch = Buffer.alloc(0);
  #nowMs = 0;

  constructor(conditions: TrialConditions) {
    const { compress, lanes, maxBandwidthBytesPerSecond, linkMsPerByte } = conditions;
    this.#conditions = conditions;
    // The share of one lane.
    const capBytesPerMs = maxBandwidthBytesPerSecond === null ? Infinity : maxBandwidthBytesPerSecond / 1000 / lanes;
    this.#msPerByte = Math.max(linkMsPerByte * lanes, 1 / capBytesPerMs);
    const link = { msPerByte: linkMsPerByte * lanes, isMeasured: true };
    const cap = maxBandwidthBytesPerSecond === null ? null : capBytesPerMs;
    this.#control = compress === 'adaptive' ? new CompressionControl(cap, link) : null;
  }

  get level(): number {
    return this.#control?.level ?? (this.#conditions.compress === 'none' ? STORE : LZ);
  }

  /** A batch goes through source, link and destination; the slowest of them takes the time. Of a whole processor: `ms`. */
  pack(batch: Buffer): Packed {
    const pages = batch.length / PAGE;
    const { bytes, ms } = this.packAt(this.level, batch);
    const { placedMsPerPage, hostIdle, laneShare } = this.#conditions;
    const busyMs = ms / laneShare + this.#carriedMs(pages, bytes);
    const destinationBusyMs = pages * placedMsPerPage;
    const linkMs = bytes * this.#msPerByte;
    const spanMs = Math.max(busyMs, linkMs, destinationBusyMs);
    this.#nowMs += spanMs;
    const blockedMs = spanMs === linkMs ? spanMs - busyMs : 0;
    this.#control?.packed(batch.length, bytes, ms);
    this.#control?.spanEnded({
      ...{ nowMs: this.#nowMs, spanMs, busyMs, cpuMs: busyMs * laneShare, blockedMs, hostIdle, destinationBusyMs },
      ...{ wireBytes: bytes, ackedBytes: bytes },
    });
    return { bytes, ms };
  }

  /** Of a page that was packed so: the time of source or link, whichever is slower, and as in the lanes' control a little for its bytes. */
  weightOf({ bytes, ms }: Packed): number {
    const slowestMs = Math.max(ms / this.#conditions.laneShare + this.#carriedMs(1, bytes), bytes * this.#msPerByte);
    return slowestMs * (1 + (BYTES_WEIGHT * bytes) / PAGE);
  }

  #carriedMs(pages: number, bytes: number): number {
    const { carried, laneShare } = this.#conditions;
    return (pages * carried.msPerPage + bytes * carried.msPerByte) / laneShare;
  }

  packAt(level: number, batch: Buffer): Packed {
    if (this.#scratch.length < batch.length) this.#scratch = Buffer.alloc(batch.length);
    batch.copy(this.#scratch);
    const packer = this.#packers.get(level) ?? new FramePacker({ ...this.#conditions, level });
    this.#packers.set(level, packer);
    let [bytes, ms] = [0, Infinity];
    for (let i = 0; i < TRIES; i++) {
      const startMs = performance.now();
      bytes = packer.pack(this.#scratch, 0, batch.length);
      ms = Math.min(ms, performance.now() - startMs);
    }
    return { bytes: bytes === 0 ? batch.length : bytes, ms };
  }
}
