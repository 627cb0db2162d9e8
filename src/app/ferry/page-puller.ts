/**
 * The destination's part of the pull phase: what its QEMU asks for, and what nobody has asked for yet, is fetched from the
 * source and given to QEMU, each page once.
 *
 *     QEMU ──fault──▶ ledger ──urgent pull──▶ source ──pulled──▶ ledger ──PART──▶ QEMU
 *                     ledger ──pull, a window's worth──▶
 *
 * The connection may be lost and made again at any time: the guest's CPUs that wait simply go on waiting. What the ledger
 * says is missing is the whole truth.
 */
import { zstdDecompressSync } from 'node:zlib';
import type { PullReport } from '../../core/model/migration.ts';
import type { TableBlock } from '../../core/pages/block-layout.ts';
import { PullLedger } from '../../core/pages/pull-ledger.ts';
import { PullWindow } from '../../core/pages/pull-window.ts';
import { PulledPart } from '../../core/vmstream/postcopy-writer.ts';
import type { ReturnPathMessage } from '../../core/vmstream/return-path.ts';
import type { MessageOf } from '../../core/wire/control-messages.ts';
import {
  contentPages,
  encodePullRuns,
  isZero,
  PULL_PAGES_MAX,
  PULLED_PAGE_BYTES as PAGE,
  pullRunsPages,
  zeroMapBytes,
} from '../../core/wire/pull-codec.ts';
import type { ControlConnection } from '../../io/link/control-connection.ts';
import { FerryError } from './errors.ts';

/** Pages of one request that is not urgent: 256 KiB, 2 ms of 1 Gbit/s, less where they compress. */
const REQUEST_PAGES = 64;
/** One chunk of output more than is needed spares a second one, and the joining of both. */
const CHUNK_SPARE_BYTES = 1024;
/** Without a fault for so long the guest runs on what it has, */
const CALM_MS = 10;
/** and so many windows may be on their way. */
const CALM_WINDOWS = 3;
/** Waiting times kept for the report; a longer pull phase is judged by its first ones. */
const WAITS_MAX = 200_000;

export type PageRequest = Extract<ReturnPathMessage, { type: 'requestPages' }>;

export type PullerParts = {
  readonly blocks: readonly TableBlock[];
  readonly spanPages: number;
  readonly ramSectionId: number;
  /** What is missing, as pairs [first global page, page count]. */
  readonly runs: Uint32Array;
  /** Numbers the requests of all pullers of a pull phase: an answer to a former one must not be taken for one to this. */
  readonly takeId: () => number;
  /** Writes to QEMU; fulfilled when the kernel has the bytes. */
  readonly write: (bytes: Uint8Array) => Promise<void>;
  /** Called once, when nothing is missing and QEMU has been given everything. */
  readonly onComplete: () => void;
};

type Asked = { readonly runs: Uint32Array; readonly urgent: boolean; readonly atMs: number };

export class PagePuller {
  readonly #parts: PullerParts;
  readonly #ledger: PullLedger;
  readonly #part: PulledPart;
  readonly #window = new PullWindow();
  readonly #asked = new Map<number, Asked>();
  readonly #out = new Uint32Array(2 * REQUEST_PAGES);
  readonly #blockByName: ReadonlyMap<string, TableBlock>;
  readonly #waitsMs: number[] = [];
  readonly #startedAtMs = performance.now();
  #connection: ControlConnection | null = null;
  #lastBlock: TableBlock | null = null;
  #isRetired = false;
  #inFlightPages = 0;
  #writing = 0;
  #faults = 0;
  #endedAtMs: number | null = null;
  #fetchesAhead = false;
  #lastFaultAtMs = -Infinity;

  constructor(parts: PullerParts) {
    this.#parts = parts;
    this.#ledger = new PullLedger(parts.spanPages, parts.runs);
    this.#part = new PulledPart(parts.ramSectionId);
    this.#blockByName = new Map(parts.blocks.map((block) => [block.name, block]));
  }

  get missingPages(): number {
    return this.#ledger.missingPages;
  }

  isMissing(page: number): boolean {
    return this.#ledger.isMissing(page);
  }

  report(): PullReport {
    const sorted = this.#waitsMs.toSorted((a, b) => a - b);
    const at = (share: number): number | null => sorted[Math.floor((sorted.length - 1) * share)] ?? null;
    const ms = (this.#endedAtMs ?? performance.now()) - this.#startedAtMs;
    return { ms, faults: this.#faults, medianMs: at(0.5), p99Ms: at(0.99) };
  }

  /** Goes on over this connection: what was asked for on another one is asked for anew. */
  connect(connection: ControlConnection): void {
    if (this.#isRetired || this.#connection === connection) return;
    this.#connection = connection;
    this.#asked.clear();
    this.#inFlightPages = 0;
    const waiting = this.#ledger.connectionLost();
    for (let at = 0; at < waiting.length; at += PULL_PAGES_MAX) {
      this.#ask(Uint32Array.from(waiting.slice(at, at + PULL_PAGES_MAX).flatMap((page) => [page, 1])), true);
    }
    this.#fill();
  }

  /** From now on pages come that QEMU has not asked for. Before the guest runs they would only hold up its start. */
  fetchAhead(): void {
    this.#fetchesAhead = true;
    this.#fill();
  }

  disconnect(connection: ControlConnection): void {
    if (this.#connection === connection) this.#connection = null;
  }

  /** Its stream to QEMU is dead: nothing is asked, written or told by it any more. Another one knows better what is missing. */
  retire(): void {
    this.#isRetired = true;
    this.#connection = null;
    this.#asked.clear();
  }

  /** QEMU wants pages that the guest touched. Throws FerryError when it names what is not there. */
  fault(request: PageRequest): void {
    const block = request.block === null ? this.#lastBlock : this.#blockByName.get(request.block);
    const pages = request.lengthBytes / PAGE;
    const first = request.offsetBytes / PAGE;
    if (block === null || block === undefined || !Number.isInteger(first) || !(first + pages <= block.pageCount)) {
      throw new FerryError('FERRY_INCOMING', `QEMU asked for a page that no RAM block has (${request.block})`);
    }
    this.#lastBlock = block;
    const nowMs = performance.now();
    for (let page = first; page < first + pages; page++) this.#faultPage(block, page, nowMs);
    if (this.#part.pages > 0) void this.#give([]);
    this.#fill();
  }

  /** An answer of the source. Throws ControlWireError, FerryError when it does not fit the question. */
  receive(connection: ControlConnection, message: MessageOf<'pulled'>, attachment: Uint8Array): void {
    const asked = connection === this.#connection ? this.#asked.get(message.id) : undefined;
    // Of an old connection: asked for again over the new one.
    if (asked === undefined) return;
    this.#asked.delete(message.id);
    const content = contentOf(attachment, pullRunsPages(asked.runs), message.zstd);
    const given = this.#place(asked.runs, attachment, content);
    if (!asked.urgent) this.#window.answered(performance.now() - asked.atMs);
    void this.#give(given).then(() => {
      if (!asked.urgent) this.#inFlightPages -= pullRunsPages(asked.runs);
      this.#fill();
    });
  }

  // ------------------------------------------------------------------------------------------------------------------

  #faultPage(block: TableBlock, page: number, nowMs: number): void {
    const global = block.firstPage + page;
    const answer = this.#ledger.fault(global, nowMs);
    if (answer === 'ask' || answer === 'waits') this.#faults++;
    if (answer !== 'done') this.#lastFaultAtMs = nowMs;
    if (answer === 'ask') this.#ask(Uint32Array.of(global, 1), true);
    if (answer === 'zero') this.#part.add(block.name, page, null);
  }

  /** Adds what QEMU must get to the next PART; returns those pages. */
  #place(runs: Uint32Array, answer: Uint8Array, content: Uint8Array): number[] {
    const given: number[] = [];
    this.#part.reserve(content.length / PAGE + 1);
    let index = 0;
    let at = 0;
    for (let i = 0; i < runs.length; i += 2) {
      const block = this.#blockOf(runs[i]!);
      for (let page = runs[i]!; page < runs[i]! + runs[i + 1]!; page++, index++) {
        const zero = isZero(answer, index);
        if (this.#ledger.arrived(page, zero)) {
          this.#part.add(block.name, page - block.firstPage, zero ? null : content, at);
          given.push(page);
        }
        if (!zero) at += PAGE;
      }
    }
    return given;
  }

  /** Hands the collected PART to QEMU, and notes how long it had waited for these pages. */
  async #give(pages: readonly number[]): Promise<void> {
    if (this.#isRetired) return;
    this.#writing++;
    try {
      if (this.#part.pages > 0) {
        const section = this.#part.take();
        await this.#parts.write(section);
        this.#part.recycle(section);
      }
    } catch {
      // QEMU's socket is gone: whoever owns it knows, and what QEMU has is found out when it is back.
    }
    this.#writing--;
    const nowMs = performance.now();
    for (const page of pages) {
      const waitedMs = this.#ledger.givenAfterMs(page, nowMs);
      if (waitedMs !== null && this.#waitsMs.length < WAITS_MAX) this.#waitsMs.push(waitedMs);
    }
    if (this.#isRetired || this.#ledger.missingPages > 0 || this.#writing > 0 || this.#endedAtMs !== null) return;
    this.#endedAtMs = nowMs;
    this.#parts.onComplete();
  }

  #fill(): void {
    while (this.#fetchesAhead && this.#connection !== null && this.#inFlightPages < this.#windowPages()) {
      const count = this.#ledger.nextRuns(REQUEST_PAGES, this.#out);
      if (count === 0) break;
      const runs = this.#out.slice(0, count);
      this.#inFlightPages += pullRunsPages(runs);
      this.#ask(runs, false);
    }
    // Nothing was left to be pulled from the start.
    if (this.#ledger.missingPages === 0 && this.#writing === 0) void this.#give([]);
  }

  /** A guest that has not touched a missing page for a while suffers little from what stands before its next fault. */
  #windowPages(): number {
    const isCalm = performance.now() - this.#lastFaultAtMs > CALM_MS;
    return this.#window.pages * (isCalm ? CALM_WINDOWS : 1);
  }

  #ask(runs: Uint32Array, urgent: boolean): void {
    const connection = this.#connection;
    // Without a connection it is asked for when there is one.
    if (connection === null) return;
    const id = this.#parts.takeId();
    this.#asked.set(id, { runs, urgent, atMs: performance.now() });
    connection.send({ type: 'pull', id, urgent }, encodePullRuns(runs)).catch(() => undefined);
  }

  #blockOf(global: number): TableBlock {
    const found = this.#parts.blocks.find(
      (block) => global >= block.firstPage && global < block.firstPage + block.pageCount,
    );
    if (found !== undefined) return found;
    throw new FerryError('FERRY_PEER', `Page ${global} lies in no RAM block`);
  }
}

/** The packed pages of an answer, checked against what was asked for. Throws ControlWireError, FerryError. */
function contentOf(answer: Uint8Array, pages: number, zstd: boolean): Uint8Array {
  const bytes = contentPages(answer, pages) * PAGE;
  const packed = answer.subarray(zeroMapBytes(pages));
  let content = packed;
  try {
    if (zstd)
      content = zstdDecompressSync(packed, {
        maxOutputLength: Math.max(1, bytes),
        chunkSize: bytes + CHUNK_SPARE_BYTES,
      });
  } catch (cause) {
    throw new FerryError('FERRY_PEER', 'The source sent pages that cannot be unpacked', {}, { cause });
  }
  if (content.length === bytes) return content;
  throw new FerryError('FERRY_PEER', `The source sent ${content.length} bytes of pages instead of ${bytes}`);
}
