/**
 * Who holds QEMU's locks on an image file, as the kernel says it.
 *
 * QEMU takes shared OFD locks on single bytes: 100 + N for each permission N that it uses, 200 + N for each one that it does
 * not let others have (block/file-posix.c, RAW_LOCK_PERM_BASE and RAW_LOCK_SHARED_BASE); permission 1 is to write. Such
 * locks belong to an open file, not to a process: /proc/locks says pid -1, but /proc/PID/fdinfo/FD lists them.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HostName, LabHosts, QemuVersion } from './lab-hosts.ts';
import { qemuTool } from './storage-servers.ts';

/** Lock byte of "writes" and of "nobody else may write". */
const WRITES = 101;
const NOBODY_ELSE_WRITES = 201;
const SAMPLE_MS = 1;
const PID_POLL_MS = 20;

export type Holder = 'source' | 'destination' | 'nobody' | 'both';
export type ImageUse = { readonly isOpen: boolean; readonly lockedBytes: readonly number[] };

/** How a process uses an image: whether it is open there, and which lock bytes are held. A process that is gone does not. */
export function imageUse(pid: number, file: string): ImageUse {
  const lockedBytes: number[] = [];
  let isOpen = false;
  try {
    for (const descriptor of readdirSync(`/proc/${pid}/fd`)) {
      const info = fdInfoOf(pid, descriptor, file);
      if (info === null) continue;
      isOpen = true;
      for (const [, first, last] of info.matchAll(/^lock:.* (\d+) (\d+)$/gm)) {
        for (let byte = Number(first); byte <= Number(last); byte++) lockedBytes.push(byte);
      }
    }
  } catch (error) {
    if (!isGone(error)) throw error;
  }
  return { isOpen, lockedBytes };
}

/** Null for another file, or a descriptor that was closed meanwhile. */
function fdInfoOf(pid: number, descriptor: string, file: string): string | null {
  try {
    if (readlinkSync(`/proc/${pid}/fd/${descriptor}`) !== file) return null;
    return readFileSync(`/proc/${pid}/fdinfo/${descriptor}`, 'utf8');
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
}

function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ESRCH';
}

/**
 * This process may write to the image, and nobody else may. A QEMU whose `cont` failed over another's lock keeps the bytes
 * of the permissions that it wanted, 100 and 101, without this.
 */
export function isExclusive({ lockedBytes }: ImageUse): boolean {
  return lockedBytes.includes(WRITES) && lockedBytes.includes(NOBODY_ELSE_WRITES);
}

export function assertHolds(pid: number, file: string): void {
  const use = imageUse(pid, file);
  assert.ok(use.isOpen, `process ${pid} has ${file} open`);
  assert.ok(isExclusive(use), `process ${pid} holds the locks of ${file}: ${use.lockedBytes.join(' ')}`);
}

export function assertHoldsNothing(pid: number, file: string): void {
  assert.deepEqual(imageUse(pid, file).lockedBytes, [], `process ${pid} holds locks of ${file}`);
}

/**
 * Whether another program could write to the image, tried by opening it so. Never during a switchover: the attempt takes
 * lock bytes for an instant, over which an honest `cont` fails.
 */
export function canBeOpened(file: string, format: string, qemu: QemuVersion = '10'): boolean {
  const tried = spawnSync(qemuTool('qemu-io', qemu), ['-f', format, '-c', 'quit', file], { encoding: 'utf8' });
  if (tried.status === 0) return true;
  assert.match(tried.stderr, /Failed to get .* lock/);
  return false;
}

/** Opens an image for writing, as a backup program would, and keeps it open. */
export async function openImage(
  file: string,
  format: string,
  qemu: QemuVersion = '10',
): Promise<{ readonly close: () => Promise<void> }> {
  const child = spawn(qemuTool('qemu-io', qemu), ['-f', format, file], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  // Its prompt appears once the image is open.
  await Promise.race([once(child.stdout, 'data'), ended]);
  assert.equal(child.exitCode, null, `${file} can be opened`);
  return {
    close: async () => {
      if (child.exitCode === null) child.stdin.end('quit\n');
      await ended;
    },
  };
}

/** Samples as fast as it can who holds an image while it moves; keeps the changes. */
export class LockWatch {
  readonly #file: string;
  readonly #source: number;
  readonly #destinationPid: () => Promise<number | null>;
  readonly #ended: Promise<void>;
  readonly #changes: Holder[] = [];
  #destination: number | null = null;
  #destinationHadItOpen = false;
  #samples = 0;
  #isOver = false;
  readonly #free = Promise.withResolvers<void>();

  constructor(file: string, sourcePid: number, destinationPid: () => Promise<number | null>) {
    this.#file = file;
    this.#source = sourcePid;
    this.#destinationPid = destinationPid;
    this.#ended = this.#run();
  }

  /** The destination's process as soon as it is known. */
  get destination(): number | null {
    return this.#destination;
  }

  /** Fulfilled when the source has let go of the image. */
  get free(): Promise<void> {
    return this.#free.promise;
  }

  /** Ends the sampling and returns who held the image, in order. */
  async end(): Promise<{ holders: readonly Holder[]; samples: number; destinationHadItOpen: boolean }> {
    this.#isOver = true;
    await this.#ended;
    return { holders: this.#changes, samples: this.#samples, destinationHadItOpen: this.#destinationHadItOpen };
  }

  async #run(): Promise<void> {
    let askAtMs = 0;
    while (!this.#isOver) {
      if (this.#destination === null && performance.now() >= askAtMs) {
        askAtMs = performance.now() + PID_POLL_MS;
        this.#destination = await this.#destinationPid();
      }
      this.#sample();
      await sleep(SAMPLE_MS);
    }
    this.#sample();
  }

  /**
   * The destination first: the source lets go only once, so a source that holds the image after the destination was seen
   * with it did so at the same time. The other way round, a handover between the two looks would pass for "both".
   */
  #sample(): void {
    const there = this.#destination === null ? null : imageUse(this.#destination, this.#file);
    const here = imageUse(this.#source, this.#file);
    this.#samples++;
    this.#destinationHadItOpen ||= there?.isOpen ?? false;
    const atDestination = (there?.lockedBytes.length ?? 0) > 0;
    const atSource = here.lockedBytes.includes(WRITES) || here.lockedBytes.includes(NOBODY_ELSE_WRITES);
    const holder = atSource ? (atDestination ? 'both' : 'source') : atDestination ? 'destination' : 'nobody';
    if (this.#changes.at(-1) !== holder) this.#changes.push(holder);
    if (!atSource) this.#free.resolve();
  }
}

/** The process of a VM at a host, incoming ones too; null when it is not there (yet). */
export async function pidOf(lab: LabHosts, host: HostName, vm: string): Promise<number | null> {
  const client = lab.client(host);
  try {
    const { vms } = await client.call('listVms', {});
    return vms.find(({ name }) => name === vm)?.pid ?? null;
  } finally {
    await client.close();
  }
}

export async function pidThere(lab: LabHosts, host: HostName, vm: string): Promise<number> {
  const pid = await pidOf(lab, host, vm);
  assert.ok(pid !== null, `VM "${vm}" has a process at host ${host}`);
  return pid;
}
