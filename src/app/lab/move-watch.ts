/**
 * Watches a guest from outside while it is moved, in the same way whatever moves it: its writer's lines on the console,
 * its heartbeats, the counters of the link.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MoveFigures, MoveSample } from './comparison.ts';
import { LabError } from './errors.ts';
import type { HeartbeatListener } from './heartbeat-listener.ts';
import { linkBytesOf } from './network.ts';
import type { HostName, LabPlan } from './plan.ts';
import type { ResidentMemory } from './resident-memory.ts';

/** A guest of the demo, and what can move it. It starts on host a. */
export type MovableGuest = {
  readonly move: (to: HostName) => Promise<MoveFigures>;
  /** The file on the host that holds what the guest says, at the place where it runs. */
  readonly consoleFile: () => Promise<string>;
  readonly stop: () => Promise<void>;
};

/** The part of a writer's line that counts here. */
export type WriterReport = { readonly sequence: number; readonly guestMs: number; readonly corruptedWords: number };
export type WriterParser = (text: string) => readonly WriterReport[];

export type WatchTools = {
  readonly plan: LabPlan;
  readonly heartbeats: HeartbeatListener;
  readonly parseWriterLines: WriterParser;
  readonly signal: AbortSignal;
};

const BOOT_TIMEOUT_MS = 180_000;
const WRITER_TIMEOUT_MS = 60_000;
/** After a move heartbeats are watched for so long: the guest's first steps at its new place belong to the outage. */
const AFTERMATH_MS = 2000;
const POLL_MS = 100;
/** A writer checks all of its memory once in ten seconds of its guest, however little it writes; half as long again for one that is held up. */
const CHECKED_MS = 15_000;

/** Waits until all workloads of the guest are under way; returns the writer's number of pages. */
export async function waitUntilReady(guest: MovableGuest, { signal }: WatchTools): Promise<number> {
  const file = await guest.consoleFile();
  return await poll(signal, BOOT_TIMEOUT_MS, 'The guest did not become ready', () => {
    const text = read(file);
    const pages = /^WRITER pages=(\d+)/m.exec(text)?.[1];
    return /^READY /m.test(text) && pages !== undefined ? Number(pages) : null;
  });
}

/** Waits until the writer has gone once through its memory, or has checked all of it: since its start, or since `from`. */
export async function waitForPass(
  guest: MovableGuest,
  pages: number,
  tools: WatchTools,
  from?: WriterReport,
): Promise<WriterReport> {
  const file = await guest.consoleFile();
  return await poll(tools.signal, WRITER_TIMEOUT_MS, 'The guest does not go on counting', () => {
    const lines = tools.parseWriterLines(read(file));
    const [first, last] = [from ?? lines[0], lines.at(-1)];
    if (first === undefined || last === undefined) return null;
    const hasWritten = last.sequence >= (from?.sequence ?? 0) + pages;
    return hasWritten || last.guestMs >= first.guestMs + CHECKED_MS ? last : null;
  });
}

/** What is known as soon as the mover is done. */
export type Moved = MoveFigures & Pick<MoveSample, 'wireBytes' | 'quietGapMs'> & { readonly pagesBefore: number };
export type Watched = Omit<MoveSample, 'mode' | 'run'>;

/**
 * Moves the guest, and releases `memory` for that. Throws what the mover throws, LabError LAB_COMMAND when the guest said nothing
 * before or there is no such memory.
 */
export async function moveWatched(
  guest: MovableGuest,
  to: HostName,
  tools: WatchTools,
  memory: ResidentMemory,
): Promise<Moved> {
  await memory.ready(tools.signal);
  const { sequence } = await waitForPass(guest, 0, tools);
  const bytesBefore = await wireBytes(tools.plan);
  const { longestGapMs: quietGapMs } = await tools.heartbeats.take();
  await memory.release();
  const figures = await guest.move(to);
  return { ...figures, quietGapMs, pagesBefore: sequence, wireBytes: (await wireBytes(tools.plan)) - bytesBefore };
}

/**
 * To be called right after the move: waits until the guest's writer has checked each of its `pages` pages since then.
 * Throws LabError LAB_COMMAND when the guest does not go on.
 */
export async function checkMoved(
  guest: MovableGuest,
  pages: number,
  moved: Moved,
  tools: WatchTools,
): Promise<Watched> {
  await sleep(AFTERMATH_MS, undefined, { signal: tools.signal });
  const { longestGapMs, heartbeats } = await tools.heartbeats.take();
  if (heartbeats === 0)
    throw new LabError('LAB_COMMAND', 'No heartbeat of the guest arrived during and after the move');
  const arrived = await waitForPass(guest, 0, tools);
  const { sequence, corruptedWords } = await waitForPass(guest, pages, tools, arrived);
  const { pagesBefore, ...figures } = moved;
  return { ...figures, longestGapMs, corruptedWords, pagesWritten: { before: pagesBefore, after: sequence } };
}

async function wireBytes({ hosts: [a, b] }: LabPlan): Promise<number> {
  return (await linkBytesOf(a)).sent + (await linkBytesOf(b)).sent;
}

async function poll<T>(signal: AbortSignal, timeoutMs: number, failure: string, look: () => T | null): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const found = look();
    if (found !== null) return found;
    if (performance.now() >= deadline) throw new LabError('LAB_COMMAND', `${failure} within ${timeoutMs / 1000} s`);
    await sleep(POLL_MS, undefined, { signal });
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
