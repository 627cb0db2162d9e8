/**
 * Two hosts and one guest as somebody sees them who does not ask vmferry: QEMU's processes, a second monitor of each, and
 * what the guest writes on the consoles of both.
 *
 * The machine of these tests has a monitor of its own for the test (`secondMonitor`), because the first one serves one
 * client at a time, which is the agent.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseWriterLines } from '../../guests/spec.ts';
import type { HostName, LabHosts } from './lab-hosts.ts';

const hosts = ['a', 'b'] as const;
const POLL_MS = 10;
const QMP_TIMEOUT_MS = 5000;

/** QEMU arguments of the guest's spec. */
export const secondMonitor = ['-qmp', 'unix:{run}/test.sock,server=on,wait=off'] as const;

/** Runs one command over the second monitor of a guest's QEMU. Throws where there is none, or QEMU says no. */
export async function askQemu(lab: LabHosts, host: HostName, vm: string, ...command: QmpCommand): Promise<unknown> {
  const [execute, argumentsOfIt] = command;
  const socket = createConnection(join(lab.folder, host, 'state/vms', vm, 'test.sock'));
  const timer = setTimeout(() => socket.destroy(new Error(`QEMU at ${host} does not answer`)), QMP_TIMEOUT_MS);
  try {
    socket.write(`${JSON.stringify({ execute: 'qmp_capabilities' })}\n`);
    socket.write(`${JSON.stringify({ execute, id: 'asked', arguments: argumentsOfIt })}\n`);
    for await (const line of createInterface(socket)) {
      const message = JSON.parse(line) as { id?: string; return?: unknown; error?: { desc: string } };
      if (message.error !== undefined) throw new Error(message.error.desc);
      if (message.id === 'asked') return message.return;
    }
    throw new Error(`QEMU at ${host} closed its monitor`);
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}
type QmpCommand = readonly [execute: string, argumentsOfIt?: object];

/** `running`, `paused`, ...; `none` where there is no such QEMU, `silent` where it does not answer. */
export async function runState(lab: LabHosts, host: HostName, vm: string): Promise<string> {
  if (!existsSync(join(lab.folder, host, 'state/vms', vm, 'test.sock'))) return 'none';
  try {
    return ((await askQemu(lab, host, vm, 'query-status')) as { status: string }).status;
  } catch (error) {
    return /ECONNREFUSED|ENOENT/.test(String(error)) ? 'none' : 'silent';
  }
}

/** Pids of the QEMUs inside a host. */
export function qemuPids(lab: LabHosts, host: HostName): number[] {
  const pids = execFileSync('ip', ['netns', 'pids', `vmferry-${lab.name}-${host}`], { encoding: 'utf8' });
  return pids
    .split('\n')
    .map(Number)
    .filter((pid) => pid > 0 && commandOf(pid).includes('qemu-system'));
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0', 1)[0] ?? '';
  } catch {
    return '';
  }
}

/** Polls until something is there; fails with `what` otherwise. */
export async function until<T>(what: string, look: () => T | Promise<T>, timeoutMs = 60_000): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found !== null && found !== undefined && found !== false) return found;
    if (performance.now() > deadline) assert.fail(`${what}: not within ${timeoutMs} ms`);
    await sleep(POLL_MS);
  }
}

/**
 * Watches the consoles of a guest on both hosts. The guest's clock goes on with the guest, so the times that each QEMU
 * wrote must not overlap: an overlap means that two QEMUs ran it at once.
 */
export class ConsoleWitness {
  readonly #lab: LabHosts;
  readonly #vm: string;
  readonly #timer: NodeJS.Timeout;
  readonly #files: { readonly host: HostName; readonly inode: number; readonly descriptor: number }[] = [];

  constructor(lab: LabHosts, vm: string) {
    this.#lab = lab;
    this.#vm = vm;
    this.#look();
    this.#timer = setInterval(() => this.#look(), POLL_MS);
  }

  /** Throws where two QEMUs ran the guest at once, or a host wrote nothing that should have. */
  assertOneOwner(): void {
    const spans = this.#files
      .map(({ host, descriptor }) => ({ host, lines: parseWriterLines(readAll(descriptor)) }))
      .filter(({ lines }) => lines.length > 0)
      .map(({ host, lines }) => ({ host, from: lines[0]?.guestMs ?? 0, to: lines.at(-1)?.guestMs ?? 0 }))
      .sort((one, other) => one.from - other.from);
    for (const [index, span] of spans.entries()) {
      const before = spans[index - 1];
      const said = JSON.stringify(spans);
      assert.ok(before === undefined || span.from > before.to, `two QEMUs ran the guest at once: ${said}`);
    }
  }

  close(): void {
    clearInterval(this.#timer);
    for (const { descriptor } of this.#files.splice(0)) closeSync(descriptor);
  }

  #look(): void {
    for (const host of hosts) {
      const found = statSync(this.#lab.consoleFile(host, this.#vm), { throwIfNoEntry: false });
      if (found === undefined || this.#files.some(({ inode }) => inode === found.ino)) continue;
      const descriptor = openSync(this.#lab.consoleFile(host, this.#vm), 'r');
      this.#files.push({ host, inode: found.ino, descriptor });
    }
  }
}

function readAll(descriptor: number): string {
  const bytes = Buffer.alloc(fstatSync(descriptor).size);
  const count = bytes.length === 0 ? 0 : readSync(descriptor, bytes, 0, bytes.length, 0);
  return bytes.toString('latin1', 0, count);
}
