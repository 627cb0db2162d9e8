/**
 * How fast connections deliver, as the kernel measures it from the times of acknowledgements (`tcpi_delivery_rate` of TCP_INFO). However
 * long a thread waits for a processor, this is the network's rate, where it was the network that was waited for.
 *
 * Node.js cannot ask for it; `ss` of iproute2 can. A shell that is started once asks whenever it is told to: to start a program takes an agent of
 * some hundred MiB 15 to 20 ms, and this shell 3. Without `ss` nothing is known, which is no error.
 */
import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { isIPv6 } from 'node:net';
import type { Readable, Writable } from 'node:stream';

/** An address with a port in, the lines of the connections there and a point out. The shell ends when this process has. */
const SCRIPT = 'while read -r peer; do ss -tinOH state established dst "$peer"; echo .; done';
const END = '.';
/** No more of an answer is kept. */
const CONNECTIONS_MAX = 1024;
const unitFactors: Readonly<Record<string, number>> = { '': 1, K: 1e3, M: 1e6, G: 1e9 };

export type Delivery = {
  /** Names the connection: its local address and port. */
  readonly connection: string;
  /** With what was sent twice. */
  readonly sentBytes: number;
  readonly ackedBytes: number;
  /** So long it had bytes that were not acknowledged: on their way, or waiting to be. In ticks of the kernel's clock, 1 to 10 ms. */
  readonly busyMs: number;
  /** Of the newest measurement; null when there is none. */
  readonly bytesPerMs: number | null;
  /** The sender had more to send all the while. Otherwise the link may be faster, or what was measured a burst that a shaper let through. */
  readonly isBusy: boolean;
};

export class DeliveryRates {
  readonly #child: ChildProcessByStdio<Writable, Readable, null> | null;
  readonly #asked: ((answer: readonly Delivery[]) => void)[] = [];
  #answer: Delivery[] = [];
  /** The beginning of a line. */
  #text = '';

  constructor() {
    this.#child = startShell();
    if (this.#child === null) return;
    this.#child.stdout.setEncoding('latin1').on('data', (text: string) => this.#onText(text));
    this.#child.on('error', () => this.close());
    this.#child.on('exit', () => this.close());
    this.#child.stdin.on('error', () => this.close());
  }

  /** Connections of this host to a port of another one. Empty as well when nothing can be found out. Never rejects. */
  async to(address: string, port: number): Promise<readonly Delivery[]> {
    const child = this.#child;
    if (child?.stdin.writable !== true) return [];
    return await new Promise((resolve) => {
      this.#asked.push(resolve);
      child.stdin.write(`${isIPv6(address) ? `[${address}]` : address}:${port}\n`);
    });
  }

  /** Whoever still waits for an answer gets an empty one. */
  close(): void {
    this.#child?.stdin.destroy();
    for (const resolve of this.#asked.splice(0)) resolve([]);
  }

  #onText(text: string): void {
    const lines = (this.#text + text).split('\n');
    this.#text = lines.pop()!;
    for (const line of lines) {
      if (line === END) {
        this.#asked.shift()?.(this.#answer);
        this.#answer = [];
      } else {
        const delivery = parseDelivery(line);
        if (delivery !== null && this.#answer.length < CONNECTIONS_MAX) this.#answer.push(delivery);
      }
    }
  }
}

function startShell(): ChildProcessByStdio<Writable, Readable, null> | null {
  try {
    const child = spawn('sh', ['-c', SCRIPT], { stdio: ['pipe', 'pipe', 'ignore'] });
    // Neither it nor what it may say keeps this process alive.
    child.unref();
    for (const end of [child.stdin, child.stdout]) (end as Partial<{ unref: () => void }>).unref?.();
    return child;
  } catch {
    return null;
  }
}

/** A line of `ss -tinOH`; null when it is none. */
export function parseDelivery(line: string): Delivery | null {
  const words = line.trim().split(/\s+/);
  const [, , connection] = words;
  if (connection === undefined) return null;
  const numberAfter = (name: string, missing: number): number =>
    Number(new RegExp(`\\b${name}:(\\d+)`).exec(line)?.[1] ?? missing);
  const sentBytes = numberAfter('bytes_sent', NaN);
  const [, rate, unit] = /\bdelivery_rate ([\d.]+)([KMG]?)bps\b/.exec(line) ?? [];
  if (!Number.isFinite(sentBytes)) return null;
  const bytesPerMs = rate === undefined ? null : (Number(rate) * unitFactors[unit ?? '']!) / 8000;
  return {
    connection,
    sentBytes,
    ackedBytes: numberAfter('bytes_acked', 0),
    busyMs: numberAfter('busy', 0),
    bytesPerMs,
    isBusy: !words.includes('app_limited'),
  };
}
