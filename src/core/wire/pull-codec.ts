/**
 * The attachments of the pull phase: lists of pages, and pages.
 *
 *     pullPages, pull    { be32 first global page, be32 page count } *
 *     pulled             bitmap of ceil(n / 8) bytes, bit i (lowest first) set: page i of the request is zero
 *                        then the other pages' 4096 bytes each, one after the other, zstd-compressed as a whole or not
 *
 * Bounded: a request has at most PULL_PAGES_MAX pages, so an answer fits one attachment.
 */
import { readU32, writeU32 } from '../bytes/big-endian.ts';
import { ControlWireError } from './errors.ts';
import { ATTACHMENT_BYTES_MAX } from './limits.ts';

export const PULLED_PAGE_BYTES = 4096;
/** Pages of one `pull`: 1 MiB. */
export const PULL_PAGES_MAX = 256;
/** Runs of one attachment of `pullPages`. */
export const PULL_RUNS_MAX = ATTACHMENT_BYTES_MAX / 8;
const RUN_BYTES = 8;

/** `runs` holds pairs [first page, page count]. */
export function encodePullRuns(runs: Uint32Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(runs.length * 4);
  for (let i = 0; i < runs.length; i++) writeU32(bytes, i * 4, runs[i]!);
  return bytes;
}

/** Pairs [first page, page count], ascending or not. Throws ControlWireError unless all of them lie below `spanPages`. */
export function decodePullRuns(bytes: Uint8Array, spanPages: number, pagesMax: number): Uint32Array<ArrayBuffer> {
  if (bytes.length === 0 || bytes.length % RUN_BYTES !== 0) throw invalid(`a page list of ${bytes.length} bytes`);
  const runs = new Uint32Array(bytes.length / 4);
  let pages = 0;
  for (let i = 0; i < runs.length; i += 2) {
    const first = readU32(bytes, i * 4);
    const count = readU32(bytes, i * 4 + 4);
    if (count === 0 || first + count > spanPages) throw invalid(`pages ${first} to ${first + count} of ${spanPages}`);
    pages += count;
    if (pages > pagesMax) throw invalid(`more than ${pagesMax} pages in one list`);
    runs[i] = first;
    runs[i + 1] = count;
  }
  return runs;
}

export function pullRunsPages(runs: Uint32Array): number {
  let pages = 0;
  for (let i = 1; i < runs.length; i += 2) pages += runs[i]!;
  return pages;
}

/** Bytes of the bitmap at the head of an answer. */
export function zeroMapBytes(pages: number): number {
  return Math.ceil(pages / 8);
}

export function markZero(answer: Uint8Array, index: number): void {
  answer[index >>> 3]! |= 1 << (index & 7);
}

export function isZero(answer: Uint8Array, index: number): boolean {
  return (answer[index >>> 3]! & (1 << (index & 7))) !== 0;
}

/** How many of the pages come with content. Throws ControlWireError when the bitmap is not there or marks other pages. */
export function contentPages(answer: Uint8Array, pages: number): number {
  const mapBytes = zeroMapBytes(pages);
  if (answer.length < mapBytes) throw invalid(`an answer of ${answer.length} bytes for ${pages} pages`);
  let content = 0;
  for (let index = 0; index < mapBytes * 8; index++) {
    if (index < pages && !isZero(answer, index)) content++;
    if (index >= pages && isZero(answer, index)) throw invalid('an answer with more pages than were asked for');
  }
  return content;
}

function invalid(what: string): ControlWireError {
  return new ControlWireError('WIRE_ATTACHMENT', `The peer sent ${what}`);
}
