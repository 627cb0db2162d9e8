/**
 * Which pages a Linux guest can do without, read from its /proc/kpageflags through the guest agent (SonicMigration, with a
 * stock guest). Ranges are asked for by RAM block and offset; the guest knows only physical addresses, so each goes through
 * the windows at which it sees the block. Pages that no window shows count as needed.
 */
import { markUnneeded, type CacheRule } from '../../core/pages/page-flags.ts';
import { GuestFile } from './guest-files.ts';
import type { GuestAgent, GuestAgentCallOptions } from './guest-agent.ts';
import type { GpaWindow } from './gpa-map.ts';

const PAGE_BYTES = 4096;
const FLAG_BYTES = 8;
const PATH = '/proc/kpageflags';

export type PageQuestion = {
  readonly block: string;
  /** Pages [first, first + pages) of the block. */
  readonly first: number;
  readonly pages: number;
  readonly rule: CacheRule;
};

export type PageReport = {
  /** Bit n: the guest can do without page `first + n` of the block. */
  readonly unneeded: Uint32Array;
  /** Of these, cache pages. */
  readonly cachePages: number;
};

export class GuestPageReporter {
  readonly #agent: GuestAgent;
  readonly #windows: readonly GpaWindow[];
  #file: GuestFile | null = null;

  constructor(agent: GuestAgent, windows: readonly GpaWindow[]) {
    this.#agent = agent;
    this.#windows = windows;
  }

  /** Throws GuestAgentError. */
  async report({ block, first, pages, rule }: PageQuestion, call: GuestAgentCallOptions): Promise<PageReport> {
    const unneeded = new Uint32Array(Math.ceil(pages / 32));
    let cachePages = 0;
    this.#file ??= await GuestFile.open(this.#agent, PATH, 'r', call);
    for (const piece of piecesOf(this.#windows, { block, first, pages })) {
      const bytes = await this.#file.read(piece.pfn * FLAG_BYTES, piece.pages * FLAG_BYTES, call);
      cachePages += markUnneeded(wordsOf(bytes), rule, unneeded, piece.page - first);
    }
    return { unneeded, cachePages };
  }

  get isOpen(): boolean {
    return this.#file !== null;
  }

  /** Gives the guest its open file back; a later report opens it again. Throws GuestAgentError. */
  async close(call: GuestAgentCallOptions): Promise<void> {
    const file = this.#file;
    this.#file = null;
    await file?.close(call);
  }
}

type Piece = { readonly page: number; readonly pages: number; readonly pfn: number };

/**
 * Where the guest sees pages [first, first + pages) of a block, by ascending address. Left out are partial pages, and pages
 * that it sees at two addresses: what it says of one of them need not hold for the other.
 */
export function piecesOf(
  windows: readonly GpaWindow[],
  { block, first, pages }: Pick<PageQuestion, 'block' | 'first' | 'pages'>,
): Piece[] {
  const pieces: Piece[] = [];
  for (const window of windows) {
    if (window.block !== block || window.gpa % PAGE_BYTES !== 0 || window.offset % PAGE_BYTES !== 0) continue;
    const from = Math.max(first, window.offset / PAGE_BYTES);
    const to = Math.min(first + pages, Math.floor((window.offset + window.bytes) / PAGE_BYTES));
    if (from < to) pieces.push({ page: from, pages: to - from, pfn: (window.gpa - window.offset) / PAGE_BYTES + from });
  }
  const alone = pieces.filter((piece) => !pieces.some((other) => other !== piece && doOverlap(piece, other)));
  return joined(alone.sort((a, b) => a.pfn - b.pfn));
}

function doOverlap(a: Piece, b: Piece): boolean {
  return a.page < b.page + b.pages && b.page < a.page + a.pages;
}

/** The firmware cuts the first MiB into many windows; what lies side by side is read at once. */
function joined(pieces: readonly Piece[]): Piece[] {
  const out: Piece[] = [];
  for (const piece of pieces) {
    const last = out.at(-1);
    const touches = last !== undefined && last.pfn + last.pages === piece.pfn && last.page + last.pages === piece.page;
    if (touches) out[out.length - 1] = { ...last, pages: last.pages + piece.pages };
    else out.push(piece);
  }
  return out;
}

function wordsOf(bytes: Buffer): Uint32Array {
  const whole = bytes.length - (bytes.length % FLAG_BYTES);
  const own = bytes.byteOffset % 4 === 0 ? bytes : Buffer.from(bytes);
  return new Uint32Array(own.buffer, own.byteOffset, whole / 4);
}
