/**
 * What the source sends behind its last page, in pieces: which pages are left to be pulled, and the end of the stream. Bounded
 * in sum: no guest has more pages than memory, nor a longer end than all of that and its devices.
 */
import { PAGES_MAX } from '../../core/pages/limits.ts';
import { decodePullRuns, pullRunsPages } from '../../core/wire/pull-codec.ts';
import { FerryError } from './errors.ts';
import type { MissingPages } from './pull-phase.ts';

const PAGE_BYTES = 4096;
/** Device states of large machines have a few MiB. */
const DEVICES_BYTES_MAX = 256 * 2 ** 20;

export type EndOfStream = {
  readonly pieces: readonly Uint8Array[];
  /** Null when the source said nothing of pages to be pulled. */
  readonly missing: Omit<MissingPages, 'blocks'> | null;
};

export class IncomingEnd {
  readonly #memoryBytes: number;
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  #missing: { readonly ramSectionId: number; readonly runs: Uint32Array[]; pages: number } | null = null;

  constructor(memoryBytes: number) {
    this.#memoryBytes = memoryBytes;
  }

  /** Throws FerryError when it is more than there can be, WireError when it is no list of runs. */
  addPages(ramSectionId: number, bytes: Uint8Array): void {
    const pagesMax = this.#memoryBytes / PAGE_BYTES;
    const missing = (this.#missing ??= { ramSectionId, runs: [], pages: 0 });
    if (bytes.length === 0) return;
    const runs = decodePullRuns(bytes, PAGES_MAX, pagesMax);
    missing.pages += pullRunsPages(runs);
    if (missing.pages > pagesMax) throw tooMuch(`${missing.pages} pages to be pulled of a guest that has ${pagesMax}`);
    missing.runs.push(runs);
  }

  /** Throws FerryError when it is more than there can be. */
  addPiece(bytes: Uint8Array): void {
    this.#bytes += bytes.length;
    if (this.#bytes > this.#memoryBytes + DEVICES_BYTES_MAX) throw tooMuch(`an end of ${this.#bytes} bytes`);
    this.#pieces.push(bytes);
  }

  take(): EndOfStream {
    const pieces = this.#pieces;
    const missing = this.#missing && {
      ramSectionId: this.#missing.ramSectionId,
      runs: concatenated(this.#missing.runs),
    };
    this.#pieces = [];
    this.#missing = null;
    return { pieces, missing };
  }
}

function tooMuch(what: string): FerryError {
  return new FerryError('FERRY_PEER', `The source sent ${what}`);
}

function concatenated(lists: readonly Uint32Array[]): Uint32Array {
  const all = new Uint32Array(lists.reduce((sum, list) => sum + list.length, 0));
  let at = 0;
  for (const list of lists) {
    all.set(list, at);
    at += list.length;
  }
  return all;
}
