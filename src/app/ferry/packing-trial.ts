/**
 * What a lane would make of a guest's pages: some of them are packed with the packer that lanes use, whose control finds the level
 * that suits the link, as if the batches went over it one after the other.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { CompressionControl } from '../../core/compress/compression-control.ts';
import { LZ, STORE } from '../../core/compress/levels.ts';
import type { MigrationOptions } from '../../core/model/migration.ts';
import { LANE_PAGE_BYTES as PAGE } from '../../core/wire/lane-limits.ts';
import { FramePacker } from '../../io/lanes/frame-packer.ts';

export type TrialConditions = Pick<MigrationOptions, 'compress' | 'lanes' | 'maxBandwidthBytesPerSecond'> & {
  /** Of all lanes together. */
  readonly linkMsPerByte: number;
  /** While the migration runs: of the source's processor time the share that nobody uses, and of a processor the part that a lane gets. */
  readonly hostIdle: number;
  readonly laneShare: number;
  /** Processor time of a page beside its packing, at the source; and all that it takes at the destination. */
  readonly carriedMsPerPage: number;
  readonly placedMsPerPage: number;
};

export type PackingTrial = {
  /** Of a page with content: its bytes on the wire, and the time of packing it. */
  readonly packedBytesPerPage: number;
  readonly packMsPerPage: number;
};

/** A span of a lane's life is some 100 ms; a batch is less, and what one batch teaches is enough here. */
const PASSES_MAX = 4;

/** `batches`: pages that hold something, as lanes put them together. Throws AbortError. */
export async function tryPacking(
  batches: readonly Buffer[],
  conditions: TrialConditions,
  signal: AbortSignal,
): Promise<PackingTrial> {
  if (batches.length === 0) return { packedBytesPerPage: PAGE, packMsPerPage: 0 };
  const trial = new Trial(conditions);
  let last = { pages: 0, bytes: 0, ms: 0 };
  for (let pass = 1; pass <= PASSES_MAX; pass++) {
    const levelBefore = trial.level;
    last = { pages: 0, bytes: 0, ms: 0 };
    for (const batch of batches) {
      const { bytes, ms } = trial.pack(batch);
      last.pages += batch.length / PAGE;
      last.bytes += bytes;
      last.ms += ms;
      await nextTurn();
      signal.throwIfAborted();
    }
    // The first pass also pays for the code that is compiled.
    if (pass > 1 && trial.level === levelBefore) break;
  }
  return { packedBytesPerPage: last.bytes / last.pages, packMsPerPage: last.ms / last.pages };
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
  pack(batch: Buffer): { readonly bytes: number; readonly ms: number } {
    const { level } = this;
    const pages = batch.length / PAGE;
    const { bytes, ms } = this.#packAt(level, batch);
    const { carriedMsPerPage, placedMsPerPage, hostIdle, laneShare } = this.#conditions;
    const packMs = ms / laneShare;
    const busyMs = packMs + (pages * carriedMsPerPage) / laneShare;
    const destinationBusyMs = pages * placedMsPerPage;
    const linkMs = bytes * this.#msPerByte;
    const spanMs = Math.max(busyMs, linkMs, destinationBusyMs);
    this.#nowMs += spanMs;
    const blockedMs = spanMs === linkMs ? spanMs - busyMs : 0;
    this.#control?.packed(batch.length, bytes, packMs);
    this.#control?.spanEnded({
      ...{ nowMs: this.#nowMs, spanMs, busyMs, blockedMs, hostIdle, destinationBusyMs },
      ...{ wireBytes: bytes, ackedBytes: bytes },
    });
    return { bytes, ms };
  }

  #packAt(level: number, batch: Buffer): { readonly bytes: number; readonly ms: number } {
    if (this.#scratch.length < batch.length) this.#scratch = Buffer.alloc(batch.length);
    batch.copy(this.#scratch);
    const packer = this.#packers.get(level) ?? new FramePacker({ ...this.#conditions, level });
    this.#packers.set(level, packer);
    const startMs = performance.now();
    const packed = packer.pack(this.#scratch, 0, batch.length);
    return { bytes: packed === 0 ? batch.length : packed, ms: performance.now() - startMs };
  }
}
