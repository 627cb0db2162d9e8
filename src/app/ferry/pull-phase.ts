/**
 * The pull phase at the destination, around its QEMU: the switchover with pages missing, the stream that brings them, and
 * what happens when that stream, the connection or this agent is lost.
 *
 *     load()      DISCARD, package; from here on QEMU may ask for pages          guestRuns()  all others may come, too
 *     connect()   a connection to the source: the first one, or another          complete     every page is here
 *     recover()   QEMU's stream broke (postcopy-paused), or a new agent has come
 *
 * What is missing is kept in a file beside the machine, so that an agent which restarts knows it: QEMU tells which of these
 * pages it has got since.
 */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../core/base/errors.ts';
import type { PullReport } from '../../core/model/migration.ts';
import { layOutBlocks, type TableBlock } from '../../core/pages/block-layout.ts';
import { describeMissing } from '../../core/pages/missing-summary.ts';
import { PullLedger } from '../../core/pages/pull-ledger.ts';
import { PAGES_MAX } from '../../core/pages/limits.ts';
import { postcopyDiscards, postcopyEnd, postcopyPackage } from '../../core/vmstream/postcopy-writer.ts';
import type { MessageOf } from '../../core/wire/control-messages.ts';
import { decodePullRuns, encodePullRuns, pullRunsPages } from '../../core/wire/pull-codec.ts';
import type { ControlConnection } from '../../io/link/control-connection.ts';
import { endPull } from '../../io/qemu/migration-control.ts';
import { QmpError } from '../../io/qemu/errors.ts';
import type { QmpClient } from '../../io/qemu/qmp-client.ts';
import type { StandingMonitor } from '../../io/qemu/standing-monitor.ts';
import { FerryError } from './errors.ts';
import { DEVICES_PING, IncomingQemu, type IncomingHandlers, type IncomingPlace } from './incoming-qemu.ts';
import { PagePuller, type PageRequest } from './page-puller.ts';

const RETRY_MS = 500;
/** Of fruitless tries, how many go by between two words about it. */
const TOLD_EVERY = 20;
/** QEMU notices within milliseconds that its stream has ended; later it is asked what else it does. */
const NOTICED_TRIES = 3;
const PAGE_BYTES = 4096;

export type MissingPages = {
  readonly ramSectionId: number;
  /** In the source's order, which fixes the global page numbers. */
  readonly blocks: readonly { readonly name: string; readonly bytes: number }[];
  /** Pairs [first global page, page count], each within one block. */
  readonly runs: Uint32Array;
};

export type PullPhaseParts = {
  readonly place: IncomingPlace;
  readonly monitor: () => Promise<QmpClient>;
  /** Answers also while a CPU of the guest waits for a page inside QEMU's lock. Throws QmpError when QEMU is gone. */
  readonly standing: () => StandingMonitor;
  readonly isAlive: () => boolean;
  readonly qemuGone: () => void;
  /** For people: what goes wrong and is being tried again. */
  readonly trouble: (text: string) => void;
  /** A stream that was lost is back. */
  readonly recovered: (missingPages: number) => void;
};

export class PullPhase {
  /** Fulfilled when every page is here and QEMU has said so. */
  readonly complete: Promise<void>;
  readonly #parts: PullPhaseParts;
  readonly #pages: MissingPages;
  readonly #blocks: readonly TableBlock[];
  readonly #done = Promise.withResolvers<void>();
  #stream: IncomingQemu | null = null;
  #puller: PagePuller | null = null;
  #nextPullId = 0;
  #connection: ControlConnection | null = null;
  #running = false;
  #allHere = false;
  #ending = false;
  #isComplete = false;
  #recovering = false;
  /** The stream of the last attempt broke, too. */
  #brokeAgain = false;
  #closed = false;
  #where: { readonly missingPages: number; readonly text: string } | null = null;

  constructor(parts: PullPhaseParts, pages: MissingPages) {
    this.#parts = parts;
    this.#pages = pages;
    this.#blocks = layOutBlocks(pages.blocks.map(({ name, bytes }) => ({ name, pageCount: bytes / PAGE_BYTES })));
    this.complete = this.#done.promise;
  }

  /** What an agent that restarted finds; null when the machine has no pull phase. */
  static async find(parts: PullPhaseParts): Promise<PullPhase | null> {
    const pages = await readPages(parts.place);
    return pages === null ? null : new PullPhase({ ...parts }, pages);
  }

  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** Before a new agent has heard of QEMU what came meanwhile, all that was missing once counts. */
  get missingPages(): number {
    return this.#puller?.missingPages ?? this.leftPages;
  }

  /** What was missing at the switchover. */
  get leftPages(): number {
    return pullRunsPages(this.#pages.runs);
  }

  get totalPages(): number {
    return this.#blocks.reduce((sum, { pageCount }) => sum + pageCount, 0);
  }

  /** For people: how many pages are missing in which part of the guest's memory. */
  whereMissing(): string {
    const { missingPages } = this;
    // It is asked for again and again while nothing comes, and looks at every page of the guest.
    if (this.#where?.missingPages !== missingPages) {
      const known = this.#puller ?? new PullLedger(this.#spanPages, this.#pages.runs);
      const text = describeMissing(this.#blocks, (page) => known.isMissing(page));
      this.#where = { missingPages, text };
    }
    return this.#where.text;
  }

  report(): PullReport | null {
    return this.#puller?.report() ?? null;
  }

  /** Tells QEMU what is missing and everything else; it is then paused, and may ask for pages. Throws FerryError. */
  async load(stream: IncomingQemu, deviceState: Uint8Array): Promise<void> {
    this.#stream = stream;
    const saved = writePages(this.#parts.place, this.#pages);
    for (const [block, runs] of this.#runsByBlock()) await stream.write(postcopyDiscards(block, runs));
    this.#startPuller(stream, this.#pages.runs);
    const accepted = stream.accepted();
    accepted.catch(() => undefined);
    await stream.write(postcopyPackage(deviceState, DEVICES_PING));
    if (this.#connection !== null) this.#puller?.connect(this.#connection);
    await Promise.all([accepted, saved]);
  }

  connect(connection: ControlConnection): void {
    if (this.#closed) return;
    this.#connection = connection;
    this.#puller?.connect(connection);
    void connection.closed.then(() => this.#puller?.disconnect(connection));
  }

  receive(message: MessageOf<'pulled'>, attachment: Uint8Array): void {
    if (!this.#closed && this.#connection !== null) this.#puller?.receive(this.#connection, message, attachment);
  }

  fault(request: PageRequest): void {
    this.#puller?.fault(request);
  }

  /** The guest runs: pages may come that it has not touched, and QEMU may be told the end when none is missing. */
  guestRuns(): void {
    this.#running = true;
    this.#puller?.fetchAhead();
    void this.#end();
  }

  /** Brings QEMU's stream back, however long that takes. Returns when pages can flow, or when all are here. */
  async recover(): Promise<void> {
    this.#brokeAgain = true;
    if (this.#recovering || this.#closed) return;
    this.#recovering = true;
    for (let tries = 0; !this.#closed; tries++) {
      if (!this.#parts.isAlive()) {
        this.#parts.qemuGone();
        break;
      }
      try {
        this.#brokeAgain = false;
        const isBack = await this.#recoverOnce(tries);
        if (isBack && !this.#brokeAgain) break;
      } catch (error) {
        if (tries % TOLD_EVERY === 0) this.#parts.trouble(this.#whyNot(error));
      }
      await sleep(RETRY_MS);
    }
    this.#recovering = false;
  }

  /** What stands in the way of a new stream, for people. */
  #whyNot(error: unknown): string {
    const { vm } = this.#parts.place;
    return (
      `The guest of VM "${vm}" stands still: its QEMU lost its stream of pages and cannot be given a new one yet ` +
      `(${describeError(error)}). The source keeps its pages, and it is tried again. If this lasts, end the guest with ` +
      `"vmferry vm stop ${vm} --force" and start it again`
    );
  }

  close(): void {
    this.#closed = true;
    this.#stream?.close();
  }

  // ------------------------------------------------------------------------------------------------------------------

  /** Nothing in here may need QEMU's main loop while a page is missing: it may wait for that very page. */
  async #recoverOnce(tries: number): Promise<boolean> {
    this.#stream?.close();
    // What it still gets would be written to a dead stream, or to the new one beside what is asked for anew.
    this.#puller?.retire();
    this.#allHere = false;
    let stream: IncomingQemu;
    try {
      stream = await IncomingQemu.recover(this.#parts.place, this.#parts.standing(), this.#handlers());
    } catch (error) {
      if (!(error instanceof QmpError) || error.code !== 'QMP_COMMAND') throw error;
      // It has not lost its stream, it says: not noticed yet, or there was nothing more to come over it.
      return tries >= NOTICED_TRIES && (await this.#hasCompleted());
    }
    if (this.#closed) {
      stream.close();
      return true;
    }
    this.#stream = stream;
    const received = new Map<string, Uint8Array>();
    for (const [block] of this.#runsByBlock()) received.set(block, await stream.receivedBitmap(block));
    this.#startPuller(stream, this.#without(received));
    await stream.resume();
    this.#parts.recovered(this.missingPages);
    if (this.#connection !== null) this.#puller?.connect(this.#connection);
    return true;
  }

  async #hasCompleted(): Promise<boolean> {
    const qmp = await this.#parts.monitor();
    const { status } = await qmp.execute('query-migrate');
    if (status !== 'completed') throw new FerryError('FERRY_INCOMING', `QEMU says that its migration is ${status}`);
    await this.#finish();
    return true;
  }

  #handlers(): IncomingHandlers {
    return { onRequest: (request) => this.fault(request), onBroken: () => void this.recover() };
  }

  get #spanPages(): number {
    const last = this.#blocks.at(-1);
    return last === undefined ? 0 : last.firstPage + last.pageCount;
  }

  #startPuller(stream: IncomingQemu, runs: Uint32Array): void {
    this.#puller = new PagePuller({
      blocks: this.#blocks,
      spanPages: this.#spanPages,
      ramSectionId: this.#pages.ramSectionId,
      runs,
      takeId: () => this.#nextPullId++,
      write: async (bytes) => await stream.write(bytes),
      onComplete: () => {
        this.#allHere = true;
        void this.#end();
      },
    });
    if (this.#running) this.#puller.fetchAhead();
  }

  async #end(): Promise<void> {
    const stream = this.#stream;
    if (!this.#allHere || !this.#running || this.#ending || stream === null) return;
    this.#ending = true;
    try {
      await stream.write(postcopyEnd(this.#pages.ramSectionId));
      await stream.ended();
      await this.#finish();
    } catch {
      // The stream broke at its very end: whether QEMU has it all is asked in `recover`.
      this.#ending = false;
    }
  }

  async #finish(): Promise<void> {
    await rm(pagesFile(this.#parts.place), { force: true });
    await this.#putBack();
    this.#isComplete = true;
    this.#done.resolve();
  }

  /** A guest whose QEMU keeps the capability is refused its next move, with a word about it: worth a few tries. */
  async #putBack(): Promise<void> {
    for (let tries = 0; tries < 5 && !this.#closed; tries++) {
      try {
        const qmp = await this.#parts.monitor();
        await endPull(qmp);
        return qmp.close();
      } catch (error) {
        this.#parts.trouble(`QEMU's capability postcopy-ram is still on: ${describeError(error)}`);
        await sleep(RETRY_MS);
      }
    }
  }

  /** Missing runs by block, in pages of the block. */
  #runsByBlock(): Map<string, Uint32Array> {
    const lists = new Map<string, number[]>();
    const { runs } = this.#pages;
    for (let i = 0; i < runs.length; i += 2) {
      const block = blockOf(this.#blocks, runs[i]!, runs[i + 1]!);
      const list = lists.get(block.name) ?? [];
      lists.set(block.name, list);
      list.push(runs[i]! - block.firstPage, runs[i + 1]!);
    }
    return new Map([...lists].map(([name, list]) => [name, Uint32Array.from(list)]));
  }

  /** The missing pages but for those that QEMU got over its streams. */
  #without(received: ReadonlyMap<string, Uint8Array>): Uint32Array {
    const left: number[] = [];
    const { runs } = this.#pages;
    for (let i = 0; i < runs.length; i += 2) {
      const block = blockOf(this.#blocks, runs[i]!, runs[i + 1]!);
      const bitmap = received.get(block.name) ?? new Uint8Array(0);
      for (let page = runs[i]!; page < runs[i]! + runs[i + 1]!; page++) {
        const at = page - block.firstPage;
        if (((bitmap[at >>> 3] ?? 0) & (1 << (at & 7))) === 0) left.push(page, 1);
      }
    }
    return Uint32Array.from(left);
  }
}

/** Throws FerryError when a run lies in no block, or in several. */
function blockOf(blocks: readonly TableBlock[], first: number, count: number): TableBlock {
  const found = blocks.find((block) => first >= block.firstPage && first + count <= block.firstPage + block.pageCount);
  if (found !== undefined) return found;
  throw new FerryError('FERRY_PEER', `Pages ${first} to ${first + count} are not in one RAM block`);
}

function pagesFile({ runFolder }: IncomingPlace): string {
  return join(runFolder, 'pull-pages.json');
}

async function writePages(place: IncomingPlace, { ramSectionId, blocks, runs }: MissingPages): Promise<void> {
  const packed = Buffer.from(encodePullRuns(runs)).toString('base64');
  await writeFile(pagesFile(place), JSON.stringify({ ramSectionId, blocks, runs: packed }), { mode: 0o600 });
}

/** Our own file; null when there is none. */
async function readPages(place: IncomingPlace): Promise<MissingPages | null> {
  let text: string;
  try {
    text = await readFile(pagesFile(place), 'utf8');
  } catch {
    return null;
  }
  const { ramSectionId, blocks, runs } = JSON.parse(text) as Omit<MissingPages, 'runs'> & { runs: string };
  const packed = Buffer.from(runs, 'base64');
  return { ramSectionId, blocks, runs: decodePullRuns(packed, PAGES_MAX, PAGES_MAX) };
}
