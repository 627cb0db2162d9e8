/**
 * What a lane would make of a guest's pages: some of them are packed with the packer that lanes use, whose control finds the level
 * that suits the link, as if the batches went over it one after the other.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { KnownLink } from '../../core/compress/compression-control.ts';
import type { MigrationOptions } from '../../core/model/migration.ts';
import { LANE_PAGE_BYTES as PAGE } from '../../core/wire/lane-limits.ts';
import { FramePacker } from '../../io/lanes/frame-packer.ts';

export type TrialConditions = Pick<MigrationOptions, 'compress' | 'lanes' | 'maxBandwidthBytesPerSecond'> & {
  /** Of all lanes together; null: not known. */
  readonly linkMsPerByte: number | null;
  /** Of the source's processor time, the share that nobody uses. */
  readonly hostIdle: number;
  /** Processor time of a page beside its packing, at the source and at the destination. */
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
  const { compress, lanes, maxBandwidthBytesPerSecond, linkMsPerByte } = conditions;
  const link: KnownLink | null = linkMsPerByte === null ? null : { msPerByte: linkMsPerByte * lanes, isMeasured: true };
  const trial = new Trial(new FramePacker({ compress, lanes, maxBandwidthBytesPerSecond, link }), link, conditions);
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
  readonly #packer: FramePacker;
  readonly #link: KnownLink | null;
  readonly #conditions: TrialConditions;
  #scratch = Buffer.alloc(0);
  #nowMs = 0;

  constructor(packer: FramePacker, link: KnownLink | null, conditions: TrialConditions) {
    this.#packer = packer;
    this.#link = link;
    this.#conditions = conditions;
  }

  get level(): number {
    return this.#packer.control?.level ?? 0;
  }

  /** A batch goes through source, link and destination; the slowest of them takes the time. */
  pack(batch: Buffer): { readonly bytes: number; readonly ms: number } {
    if (this.#scratch.length < batch.length) this.#scratch = Buffer.alloc(batch.length);
    batch.copy(this.#scratch);
    const startMs = performance.now();
    const packed = this.#packer.pack(this.#scratch, 0, batch.length);
    const ms = performance.now() - startMs;
    const bytes = packed === 0 ? batch.length : packed;
    const pages = batch.length / PAGE;
    const { carriedMsPerPage, placedMsPerPage, hostIdle } = this.#conditions;
    const busyMs = ms + pages * carriedMsPerPage;
    const destinationBusyMs = pages * placedMsPerPage;
    const linkMs = bytes * (this.#link?.msPerByte ?? 0);
    const spanMs = Math.max(busyMs, linkMs, destinationBusyMs);
    this.#nowMs += spanMs;
    const blockedMs = spanMs === linkMs ? spanMs - busyMs : 0;
    this.#packer.control?.spanEnded({
      ...{ nowMs: this.#nowMs, spanMs, busyMs, blockedMs, hostIdle, destinationBusyMs },
      ...{ wireBytes: bytes, ackedBytes: bytes },
    });
    return { bytes, ms };
  }
}
