/**
 * What a look at a guest asks the guest itself: how its memory is used, and of some of its pages whether it can do without them.
 * Nothing is changed there, and nothing depends on an answer: without one all pages count as needed.
 */
import type { CacheRule } from '../../core/pages/page-flags.ts';
import { readGuestText } from '../../io/qemu/guest-files.ts';
import type { GuestAgent } from '../../io/qemu/guest-agent.ts';
import { GuestPageReporter } from '../../io/qemu/guest-page-report.ts';
import type { GpaWindow } from '../../io/qemu/gpa-map.ts';
import { memoryUse, type MemoryUse } from './guest-kernel.ts';
import type { MigrationRequest } from './ports.ts';
import { cacheRuleOf, connectAgent, refuseUnsafeGuest } from './pruning-agent.ts';

const CALL_TIMEOUT_MS = 3_000;
/** Asked about at once: 64 MiB take 20 ms under software emulation, and little less time than a few pages. */
const CHUNK_PAGES = 16_384;
/** For all questions about pages together. */
const PAGES_MS_MAX = 800;

export class GuestAnswers {
  readonly use: MemoryUse;
  readonly #agent: GuestAgent;
  readonly #reporter: GuestPageReporter;
  readonly #rule: CacheRule;
  readonly #chunks = new Map<string, Uint32Array | null>();
  #leftMs = PAGES_MS_MAX;

  private constructor(agent: GuestAgent, reporter: GuestPageReporter, facts: { use: MemoryUse; rule: CacheRule }) {
    this.#agent = agent;
    this.#reporter = reporter;
    this.use = facts.use;
    this.#rule = facts.rule;
  }

  /** `windows`: where the guest sees its RAM. Throws GuestAgentError, AbortError, or an Error that says why it cannot be asked. */
  static async ask(
    { vm, options }: Pick<MigrationRequest, 'vm' | 'options'>,
    windows: readonly GpaWindow[],
    signal: AbortSignal,
  ): Promise<GuestAnswers> {
    const call = { timeoutMs: CALL_TIMEOUT_MS, signal };
    const agent = await connectAgent(vm, call);
    try {
      await refuseUnsafeGuest(agent, call);
      const use = memoryUse(await readGuestText(agent, '/proc/meminfo', call));
      return new GuestAnswers(agent, new GuestPageReporter(agent, windows), { use, rule: cacheRuleOf(options) });
    } catch (error) {
      agent.close();
      throw error;
    }
  }

  /** Bit n: the guest can do without page `first + n` of the block. Null: it does not say, or has been asked for long enough. */
  async unneeded(
    [block, first, pages]: readonly [block: string, first: number, pages: number],
    signal: AbortSignal,
  ): Promise<Uint32Array | null> {
    const found = new Uint32Array(Math.ceil(pages / 32));
    for (let n = 0; n < pages;) {
      const chunk = await this.#chunkOf(block, first + n, signal);
      if (chunk === null) return null;
      for (let at = (first + n) % CHUNK_PAGES; at < CHUNK_PAGES && n < pages; at++, n++) {
        if (((chunk[at >> 5]! >>> (at & 31)) & 1) === 1) found[n >> 5]! |= 1 << (n & 31);
      }
    }
    return found;
  }

  async #chunkOf(block: string, page: number, signal: AbortSignal): Promise<Uint32Array | null> {
    const number = Math.floor(page / CHUNK_PAGES);
    const key = `${block} ${number}`;
    const known = this.#chunks.get(key);
    if (known !== undefined) return known;
    const chunk = await this.#ask(block, number * CHUNK_PAGES, signal);
    this.#chunks.set(key, chunk);
    return chunk;
  }

  async #ask(block: string, first: number, signal: AbortSignal): Promise<Uint32Array | null> {
    if (this.#leftMs <= 0) return null;
    const startMs = performance.now();
    try {
      const question = { block, first, pages: CHUNK_PAGES, rule: this.#rule };
      return (await this.#reporter.report(question, { timeoutMs: CALL_TIMEOUT_MS, signal })).unneeded;
    } catch {
      signal.throwIfAborted();
      this.#leftMs = 0;
      return null;
    } finally {
      this.#leftMs -= performance.now() - startMs;
    }
  }

  async close(): Promise<void> {
    try {
      if (this.#leftMs > 0 && this.#reporter.isOpen) await this.#reporter.close({ timeoutMs: CALL_TIMEOUT_MS });
    } catch {
      // It is gone or silent: its next agent has no open file.
    }
    this.#agent.close();
  }
}
