/**
 * The source's part of the pull phase: answers the destination's requests for pages from the memory of the stopped QEMU.
 *
 * It holds no state about pages: what is missing is known at the destination alone, so a new connection, or a new agent
 * after a restart, goes on where the last one was. Urgent requests overtake all others; those are answered one at a time,
 * the next when the connection has taken the last, so that little stands before an urgent answer.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { constants, zstdCompressSync } from 'node:zlib';
import type { CompressMode } from '../../core/model/migration.ts';
import type { MessageOf } from '../../core/wire/control-messages.ts';
import {
  decodePullRuns,
  markZero,
  PULL_PAGES_MAX,
  PULLED_PAGE_BYTES as PAGE,
  pullRunsPages,
  zeroMapBytes,
} from '../../core/wire/pull-codec.ts';
import { GuestMemory } from '../../io/lanes/guest-memory.ts';
import type { MemoryMap } from '../../io/lanes/lane-protocol.ts';
import type { ControlConnection } from '../../io/link/control-connection.ts';

/** Below this many content bytes compression costs more time than it saves. */
const COMPRESS_BYTES_MIN = 2 * PAGE;
/** Fast, because a guest waits for it. */
const params = {
  [constants.ZSTD_c_compressionLevel]: 1,
  [constants.ZSTD_c_minMatch]: 5,
  [constants.ZSTD_c_targetLength]: 3,
};
const zeroPage = Buffer.alloc(PAGE);

export type ServedCounts = {
  readonly dataPages: number;
  readonly zeroPages: number;
  readonly rawBytes: number;
  readonly wireBytes: number;
};

export type PageServerOptions = {
  readonly compress: CompressMode;
  /** Of pages that the guest does not wait for; null = as fast as the link. */
  readonly maxBandwidthBytesPerSecond: number | null;
};

type Job = { readonly connection: ControlConnection; readonly id: number; readonly runs: Uint32Array };

export class PageServer {
  readonly #memory: GuestMemory;
  readonly #spanPages: number;
  readonly #options: PageServerOptions;
  readonly #pages = Buffer.allocUnsafeSlow(PULL_PAGES_MAX * PAGE);
  readonly #waiting: Job[] = [];
  #busy = false;
  #counts: ServedCounts = { dataPages: 0, zeroPages: 0, rawBytes: 0, wireBytes: 0 };

  /** The guest must be stopped for good, or be stopped and not run again before this is closed. Throws LaneError. */
  constructor(memory: MemoryMap, options: PageServerOptions) {
    this.#memory = new GuestMemory(memory, 'read');
    this.#spanPages = Math.max(0, ...memory.map((block) => block.firstPage + block.pageCount));
    this.#options = options;
  }

  get counts(): ServedCounts {
    return this.#counts;
  }

  /** Answers on the same connection. Throws ControlWireError, and LaneError when the QEMU is gone. */
  answer(connection: ControlConnection, message: MessageOf<'pull'>, attachment: Uint8Array): void {
    const runs = decodePullRuns(attachment, this.#spanPages, PULL_PAGES_MAX);
    const job = { connection, id: message.id, runs };
    if (message.urgent) {
      void this.#send(job).catch(() => undefined);
      return;
    }
    this.#waiting.push(job);
    void this.#work();
  }

  close(): void {
    this.#waiting.length = 0;
    this.#memory.close();
  }

  async #work(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    for (let job = this.#waiting.shift(); job !== undefined; job = this.#waiting.shift()) {
      // A connection that has ended, or a QEMU that has: the destination asks again, and hears of the latter elsewhere.
      const before = this.#counts.wireBytes;
      const startedAtMs = performance.now();
      await this.#send(job).catch(() => undefined);
      const { maxBandwidthBytesPerSecond: limit } = this.#options;
      const dueMs = limit === null ? 0 : ((this.#counts.wireBytes - before) * 1000) / limit;
      const restMs = dueMs - (performance.now() - startedAtMs);
      await (restMs > 1 ? sleep(restMs) : new Promise((resolve) => setImmediate(resolve)));
    }
    this.#busy = false;
  }

  async #send({ connection, id, runs }: Job): Promise<void> {
    const { head, content, zeroPages } = this.#read(runs);
    const zstd = this.#options.compress !== 'none' && content.length >= COMPRESS_BYTES_MIN;
    const body = zstd ? zstdCompressSync(content, { params, chunkSize: (content.length >>> 1) + PAGE }) : content;
    const isSmaller = body.length < content.length;
    const attachment = Buffer.concat([head, isSmaller ? body : content]);
    this.#counts = {
      dataPages: this.#counts.dataPages + content.length / PAGE,
      zeroPages: this.#counts.zeroPages + zeroPages,
      rawBytes: this.#counts.rawBytes + content.length,
      wireBytes: this.#counts.wireBytes + attachment.length,
    };
    await connection.send({ type: 'pulled', id, zstd: isSmaller }, attachment);
  }

  /** Pages with content, packed, and the map of the others. */
  #read(runs: Uint32Array): { head: Uint8Array; content: Buffer; zeroPages: number } {
    const pages = this.#pages;
    const head = new Uint8Array(zeroMapBytes(pullRunsPages(runs)));
    let index = 0;
    let end = 0;
    for (let i = 0; i < runs.length; i += 2) {
      const count = runs[i + 1]!;
      this.#memory.read(runs[i]!, count, pages, end);
      // The run lies behind what is kept; pages move down over the zeros before them.
      for (let k = 0, from = end; k < count; k++, from += PAGE, index++) {
        if (pages.compare(zeroPage, 0, PAGE, from, from + PAGE) === 0) markZero(head, index);
        else {
          if (from !== end) pages.copyWithin(end, from, from + PAGE);
          end += PAGE;
        }
      }
    }
    return { head, content: pages.subarray(0, end), zeroPages: index - end / PAGE };
  }
}
