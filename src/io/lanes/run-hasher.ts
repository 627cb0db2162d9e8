/** Hashes of runs of guest memory for `verify`, on both sides. */
import { LANE_CHUNK_PAGES, LANE_PAGE_BYTES as PAGE } from '../../core/wire/lane-limits.ts';
import type { GuestMemory } from './guest-memory.ts';
import type { PageHash } from './page-hash.ts';

/** The same pages as pairs that do not cross a chunk boundary. */
export function cutRuns(runs: Uint32Array): Uint32Array {
  const out: number[] = [];
  for (let i = 0; i < runs.length; i += 2) {
    const end = runs[i]! + runs[i + 1]!;
    for (let page = runs[i]!; page < end;) {
      const chunkEnd = Math.min(end, page - (page % LANE_CHUNK_PAGES) + LANE_CHUNK_PAGES);
      out.push(page, chunkEnd - page);
      page = chunkEnd;
    }
  }
  return Uint32Array.from(out);
}

export class RunHasher {
  readonly #memory: GuestMemory;
  readonly #hash: PageHash;
  #chunk: Buffer | undefined;

  constructor(memory: GuestMemory, hash: PageHash) {
    this.#memory = memory;
    this.#hash = hash;
  }

  /** Two words per run, high word first. Throws LaneError when memory cannot be read. */
  hashes(runs: Uint32Array): Uint32Array {
    this.#chunk ??= Buffer.allocUnsafeSlow(LANE_CHUNK_PAGES * PAGE);
    const out = new Uint32Array(runs.length);
    for (let i = 0; i < runs.length; i += 2) {
      this.#memory.read(runs[i]!, runs[i + 1]!, this.#chunk, 0);
      this.#hash.update(this.#chunk.subarray(0, runs[i + 1]! * PAGE));
      out[i] = this.#hash.high;
      out[i + 1] = this.#hash.low;
    }
    return out;
  }
}
