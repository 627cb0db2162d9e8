/**
 * Asks the guest which pages it can do without, for the pump (rule R4; docs/pruning.md).
 *
 *     connect, look at the guest ──▶ ready ──(drop, report)*──▶ close
 *            └───────────── any failure: "failed", once, with a reason for people
 *
 * Everything goes through the stock guest agent, every wait is bounded, and nothing here can hold up the guest's stop: an
 * answer that comes too late finds nobody who waits for it. What the guest says can only hurt that guest.
 */
import { describeError } from '../../core/base/errors.ts';
import type { MigrationOptions } from '../../core/model/migration.ts';
import type { CacheRule } from '../../core/pages/page-flags.ts';
import { layOutBlocks, type PageBlock } from '../../core/pages/block-layout.ts';
import type { ReportOrder } from '../../core/strategy/pruning.ts';
import { formatBytes } from '../../core/model/units.ts';
import { WARM_UP_FEATURE } from '../../core/wire/control-messages.ts';
import type { ControlConnection } from '../../io/link/control-connection.ts';
import type { Logger } from '../../io/log/logger.ts';
import { readGuestText, writeGuestText } from '../../io/qemu/guest-files.ts';
import type { GuestAgent } from '../../io/qemu/guest-agent.ts';
import { GuestPageReporter } from '../../io/qemu/guest-page-report.ts';
import type { GpaWindow } from '../../io/qemu/gpa-map.ts';
import { fileCacheBytes, memoryUse } from './guest-kernel.ts';
import { pageBlocks } from './guest-ram.ts';
import type { HotFiles } from './hot-files.ts';
import type { LocalVm, MigrationRequest } from './ports.ts';
import { cacheRuleOf, connectAgent, refuseUnsafeGuest } from './pruning-agent.ts';
import type { PruneAnswer } from './pump-protocol.ts';
import type { SourceFacts } from './source-vm.ts';
import { listHotFiles, readAgain } from './warm-up.ts';

const CONNECT_TIMEOUT_MS = 2_000;
const CALL_TIMEOUT_MS = 3_000;
/** A question of 64 MiB takes 20 ms of an idle guest; one that takes longer than this delays us more than it saves. */
const QUESTION_MS = 250;
/** For all that its questions take beyond that, so that a slow agent cannot hold up the migration for long. */
const OVERTIME_MS_MAX = 5_000;
const FAREWELL_TIMEOUT_MS = 1_000;
/** Dropping 8 GiB of cache took 0.6 s under software emulation. */
const DROP_TIMEOUT_MS = 10_000;
const RECLAIM_STEPS = 8;
const PAGE_BYTES = 4096;
/** What a migration sends per second at 1 Gbit/s, compressed by half. */
const ASSUMED_BYTES_PER_SECOND = 200e6;
/** A cache that is dropped at the end of so short a migration may as well be dropped at its beginning. */
const SHORT_SECONDS = 5;
/** Dropping more than this takes so long that it is not done before the first page is sent. */
const EARLY_DROP_BYTES_MAX = 8 * 2 ** 30;

export type PruningOptions = Pick<MigrationOptions, 'prune' | 'keepCache' | 'dropSlabs' | 'warmUp'>;

export type GuestLayout = {
  /** RAM blocks in QEMU's order, and where the guest sees them. */
  readonly blocks: readonly PageBlock[];
  readonly windows: readonly GpaWindow[];
  /** QEMU may stop the guest by itself after its first sweep: a last pass cannot be put off. */
  readonly isPaced: boolean;
};

/** Throws an Error for a guest whose writes are not all reported: a page left out could be one of them. */
function guestLayout({ ram, features, accelerator, qemuVersion }: SourceFacts): GuestLayout {
  if (accelerator === 'tcg' && !features.reliableTcgDirtyLog) {
    throw new Error(`QEMU ${qemuVersion} under software emulation may miss writes of the guest`);
  }
  const blocks = pageBlocks(ram.blocks, new Set());
  return { blocks, windows: ram.windows, isPaced: !features.switchoverAck };
}

export class GuestPruning {
  readonly #vm: LocalVm;
  readonly #options: PruningOptions;
  readonly #say: (text: string, facts?: object) => void;
  readonly #early: PruneAnswer[] = [];
  #sink: ((answer: PruneAnswer) => void) | null = null;
  readonly #abandon = new AbortController();
  #agent: GuestAgent | null = null;
  #reporter: GuestPageReporter | null = null;
  #blocks: readonly { readonly name: string; readonly firstPage: number; readonly pageCount: number }[] = [];
  #cacheRule: CacheRule;
  /** Of the pass that runs, to know how much there is to reclaim. */
  #cachePages = 0;
  #overtimeMs = 0;
  #hasAnswered = false;
  /** Of the pass that runs. */
  #pass: { questions: number; ms: number } = { questions: 0, ms: 0 };
  /** The next question is the first of another pass, before which the guest may have started anew. */
  #isNewPass = false;
  #hasFailed = false;
  #note: string | null = null;
  /** What the guest had in its cache; null unless it is to be read again. */
  #hotFiles: HotFiles | null = null;
  #hasDropped = false;
  #warmUpNote: string | null = null;
  #work: Promise<void> = Promise.resolve();

  /** `say` is for the log: how long the guest took, and why it cannot be asked, or not any more. */
  constructor(vm: LocalVm, options: PruningOptions, say: (text: string, facts?: object) => void) {
    this.#vm = vm;
    this.#options = options;
    this.#say = say;
    this.#cacheRule = cacheRuleOf(options);
  }

  /** Why less was left out than was asked for, in a sentence; null when nothing went wrong. */
  get note(): string | null {
    return this.#note;
  }

  /** That, and what becomes of the cache. */
  get notes(): readonly string[] {
    return [this.#note, this.#warmUpNote].filter((note) => note !== null);
  }

  /** Tells the destination what the guest shall read again there. Throws LinkError. */
  async warmUpThere(connection: Pick<ControlConnection, 'peerName' | 'peerHello' | 'send'>): Promise<void> {
    const hot = this.#hotFiles;
    if (hot === null || hot.files === 0) return;
    if (!connection.peerHello.features.includes(WARM_UP_FEATURE)) {
      this.#warmUpNote = this.#coldNote(`host "${connection.peerName}" runs an older vmferry`);
      return;
    }
    await connection.send({ type: 'hotFiles' }, hot.list);
    const what = `${hot.files} files of its former cache (${formatBytes(hot.cachedBytes)})`;
    this.#warmUpNote = `VM "${this.#vm.name}" reads ${what} again, in the background`;
  }

  /** The guest goes on here after all: what it dropped for the migration it reads again here. */
  async warmUpHere(log: Logger): Promise<void> {
    this.#warmUpNote = null;
    if (this.#hasDropped && this.#hotFiles !== null) await readAgain(this.#vm, this.#hotFiles.list, log);
  }

  /** A promise, because the layout is looked up while the agent is greeted. */
  start(layout: Promise<GuestLayout>): void {
    layout.catch(() => undefined);
    this.#enqueue(async () => {
      const agent = await this.#connect();
      this.#tell({ type: 'agentAnswered' });
      await refuseUnsafeGuest(agent, this.#call());
      const { blocks, windows, isPaced } = await layout;
      this.#blocks = layOutBlocks(blocks);
      this.#reporter = new GuestPageReporter(agent, windows);
      if (this.#options.warmUp && this.#cacheRule !== 'none') await this.#listHotFiles(agent);
      const isProof = await this.#dropEarly(agent, isPaced);
      this.#hasAnswered = true;
      this.#tell({ type: 'agentReady', isProof });
    });
  }

  /** Who wants the answers, those given so far included. */
  deliverTo(sink: (answer: PruneAnswer) => void): void {
    this.#sink = sink;
    for (const answer of this.#early.splice(0)) sink(answer);
  }

  /** Carries out what the scheduler asks for, one after the other, and tells what came of it. */
  order(order: ReportOrder): void {
    this.#enqueue(async () => {
      if (order.type === 'drop') {
        await this.#drop(this.#mustAgent());
        this.#tell({ type: 'cacheDropped' });
      } else await this.#report(order);
    });
  }

  /** Gives up what is under way. Nothing is told any more. */
  close(): void {
    if (this.#abandon.signal.aborted) return;
    if (!this.#hasAnswered) this.#note ??= `${this.#nothing}: its guest agent did not answer in time`;
    this.#abandon.abort();
    void this.#work.then(async () => await this.#sayFarewell());
  }

  /** An agent that goes on at the source should not keep an open file for each migration that was given up. */
  async #sayFarewell(): Promise<void> {
    try {
      if (this.#reporter?.isOpen === true) await this.#reporter.close({ timeoutMs: FAREWELL_TIMEOUT_MS });
    } catch {
      // It is gone or silent, or the guest is stopped.
    }
    this.#agent?.close();
  }

  get #nothing(): string {
    return `Nothing${this.#hasAnswered ? ' more' : ''} of VM "${this.#vm.name}" was left out as unneeded`;
  }

  #enqueue(step: () => Promise<void>): void {
    this.#work = this.#work.then(async () => {
      if (this.#hasFailed || this.#abandon.signal.aborted) return;
      try {
        await step();
      } catch (error) {
        this.#fail(`${this.#nothing}: ${describeError(error)}`);
      }
    });
  }

  #fail(note: string): void {
    if (this.#abandon.signal.aborted) return;
    this.#hasFailed = true;
    this.#note = note;
    this.#say(note);
    this.#tell({ type: 'pruningFailed' });
    this.close();
  }

  #tell(answer: PruneAnswer): void {
    if (this.#sink === null) this.#early.push(answer);
    else this.#sink(answer);
  }

  async #connect(): Promise<GuestAgent> {
    this.#agent = await connectAgent(this.#vm, { timeoutMs: CONNECT_TIMEOUT_MS, signal: this.#abandon.signal });
    return this.#agent;
  }

  #mustAgent(): GuestAgent {
    if (this.#agent === null) throw new Error('its guest agent is not connected');
    return this.#agent;
  }

  /** Without it everything goes on as well. */
  async #listHotFiles(agent: GuestAgent): Promise<void> {
    try {
      await this.#timed('The guest named the files in its cache', async () => {
        this.#hotFiles = await listHotFiles(agent, { signal: this.#abandon.signal });
      });
    } catch (error) {
      this.#warmUpNote = this.#coldNote(describeError(error));
      this.#say(this.#warmUpNote);
    }
  }

  #coldNote(reason: string): string {
    return `VM "${this.#vm.name}" does not read the files of its cache again: ${reason}`;
  }

  /** Returns whether what the guest reports free from now on is all that may be left out. */
  async #dropEarly(agent: GuestAgent, isPaced: boolean): Promise<boolean> {
    if (this.#cacheRule === 'none') return true;
    const { neededBytes, cacheBytes } = memoryUse(await readGuestText(agent, '/proc/meminfo', this.#call()));
    const isShort = neededBytes < SHORT_SECONDS * ASSUMED_BYTES_PER_SECOND && cacheBytes < EARLY_DROP_BYTES_MAX;
    if (this.#cacheRule === 'all' && (isShort || isPaced)) {
      await this.#drop(agent);
      return true;
    }
    // What is not dropped is needed, if QEMU may stop the guest before it could be.
    if (isPaced) this.#cacheRule = 'none';
    return isPaced;
  }

  async #drop(agent: GuestAgent): Promise<void> {
    this.#hasDropped = true;
    const call = { timeoutMs: DROP_TIMEOUT_MS, signal: this.#abandon.signal };
    if (this.#cacheRule === 'inactive') {
      return await this.#timed('The guest gave back file cache', async () => await this.#reclaim(agent));
    }
    const what = this.#options.dropSlabs ? '3' : '1';
    await this.#timed('The guest dropped its file cache', async () => {
      await writeGuestText(agent, '/proc/sys/vm/drop_caches', what, call);
    });
  }

  async #timed(what: string, work: () => Promise<void>): Promise<void> {
    const startMs = performance.now();
    await work();
    this.#say(what, { ms: Math.round(performance.now() - startMs) });
  }

  /**
   * Least recently used cache first, as much as was found unused; what the kernel will not give stays in the guest. In steps,
   * because the kernel may give more than it is asked for, and when it gives less says so as an error, upon which the
   * agent asks for the same again.
   */
  async #reclaim(agent: GuestAgent): Promise<void> {
    const wanted = this.#cachePages * PAGE_BYTES;
    if (wanted === 0) return;
    try {
      const before = await this.#fileCache(agent);
      for (let step = 0, left = wanted; step < RECLAIM_STEPS && left > 0; step++) {
        await this.#reclaimOnce(agent, Math.min(left, Math.ceil(wanted / RECLAIM_STEPS)));
        left = wanted - (before - (await this.#fileCache(agent)));
      }
    } catch (error) {
      if (/temporarily unavailable/i.test(describeError(error))) return;
      this.#note = `VM "${this.#vm.name}" kept all of its file cache, and it was sent: ${describeError(error)}`;
    }
  }

  async #fileCache(agent: GuestAgent): Promise<number> {
    return fileCacheBytes(await readGuestText(agent, '/proc/meminfo', this.#call()));
  }

  /** Newer kernels can be told not to swap the memory of processes out instead; older ones refuse the word. */
  async #reclaimOnce(agent: GuestAgent, bytes: number): Promise<void> {
    try {
      await this.#writeReclaim(agent, `${bytes} swappiness=0`);
    } catch (error) {
      if (!/invalid argument/i.test(describeError(error))) throw error;
      await this.#writeReclaim(agent, String(bytes));
    }
  }

  async #writeReclaim(agent: GuestAgent, text: string): Promise<void> {
    const call = { timeoutMs: DROP_TIMEOUT_MS / RECLAIM_STEPS, signal: this.#abandon.signal };
    await writeGuestText(agent, '/sys/fs/cgroup/memory.reclaim', text, call);
  }

  async #report({ firstPage, pages, isProof, isLast }: ReportOrder & { type: 'report' }): Promise<void> {
    const block = this.#blocks.find(
      (each) => firstPage >= each.firstPage && firstPage < each.firstPage + each.pageCount,
    );
    if (block === undefined || this.#reporter === null) throw new Error('page numbers do not fit its memory');
    if (this.#isNewPass) await refuseUnsafeGuest(this.#mustAgent(), this.#call());
    if (this.#isNewPass) this.#cachePages = 0;
    this.#isNewPass = isLast;
    const first = firstPage - block.firstPage;
    const rule = isProof ? 'none' : this.#cacheRule;
    const startMs = performance.now();
    const question = { block: block.name, first, pages, rule };
    const { unneeded, cachePages } = await this.#reporter.report(question, this.#call());
    this.#account(performance.now() - startMs);
    this.#cachePages += cachePages;
    this.#tell({ type: 'pageReport', firstPage, unneeded });
    if (!isLast) return;
    this.#say('The guest was asked about its pages', { ...this.#pass, isProof });
    this.#pass = { questions: 0, ms: 0 };
    await this.#reporter.close(this.#call());
  }

  #account(ms: number): void {
    this.#pass = { questions: this.#pass.questions + 1, ms: this.#pass.ms + Math.round(ms) };
    this.#overtimeMs += Math.max(0, ms - QUESTION_MS);
    if (this.#overtimeMs > OVERTIME_MS_MAX) throw new Error('its guest agent is too slow');
  }

  #call(): { timeoutMs: number; signal: AbortSignal } {
    return { timeoutMs: CALL_TIMEOUT_MS, signal: this.#abandon.signal };
  }
}

/** Early, because the guest has all the time of the reservation to answer. Null when it is not to be asked. */
export function startPruning(parts: PruningParts, facts: Promise<SourceFacts>): GuestPruning | null {
  const { vm, options, id } = parts.request;
  if (options.prune === 'none') return null;
  const say = (text: string, facts?: object): void =>
    parts.log.info('migration.pruning', text, { migration: id, ...facts });
  const pruning = new GuestPruning(vm, options, say);
  pruning.start(facts.then(guestLayout));
  return pruning;
}
export type PruningParts = { readonly log: Logger; readonly request: MigrationRequest };
