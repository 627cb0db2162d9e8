/** Samples and a stand-in console for tests of this room. */
import { describeError } from '../../core/base/errors.ts';
import type { MigrationReport, MigrationView } from '../../core/model/migration.ts';
import { defaultMigrationOptions } from '../../core/model/migration.ts';
import { AgentClient } from '../client/agent-client.ts';
import type { Transport, TransportRequest } from '../client/transport.ts';
import type { Console } from './console.ts';

export function sampleView(change: Partial<MigrationView> = {}): MigrationView {
  return {
    id: 'm1',
    vm: 'web',
    source: 'host-a',
    destination: 'host-b',
    stage: 'preCopy',
    outcome: null,
    reason: null,
    ...{
      elapsedMs: 1200,
      progress: 0.4,
      timeToGoMs: 1800,
      round: 1,
      pagesTotal: 262144,
      pagesPending: 1e5,
    },
    ...{
      dirtyPagesPerSecond: 5e3,
      wireBytes: 8e7,
      wireBytesPerSecond: 11e7,
    },
    ...change,
  };
}

export function sampleReport(change: Partial<MigrationReport> = {}): MigrationReport {
  const { strategy, compress, lanes, downtimeTargetMs, verify } = defaultMigrationOptions;
  return {
    id: 'm1',
    vm: 'web',
    source: 'host-a',
    destination: 'host-b',
    startedAt: '2026-11-21T07:30:00.000Z',
    strategy,
    options: {
      prune: null,
      compress,
      delta: null,
      lanes,
      maxBandwidth: null,
      downtimeTargetMs,
      verify,
    },
    ...{
      outcome: 'completed',
      reason: 'what was left fitted the downtime target',
      code: null,
    },
    ...{
      guest: 'running at destination',
      totalMs: 3400.6,
      downtimeMs: 120.4,
    },
    stagesMs: {
      ...{
        preMigration: 150.3,
        reservation: 350.3,
        preCopy: 2700,
        stopAndCopy: 120,
        commitment: 30,
        activation: 50,
      },
    },
    rounds: [
      {
        round: 1,
        ms: 2400,
        pagesSent: 6e4,
        wireBytes: 78e6,
        pagesDirtied: 9e3,
      },
      {
        round: 2,
        ms: 300,
        pagesSent: 9e3,
        wireBytes: 95e5,
        pagesDirtied: 1100,
      },
    ],
    pages: {
      total: 262144,
      sent: 70100,
      resent: 10100,
      zero: 202144,
      pruned: null,
      delta: null,
      pulled: null,
    },
    bytes: {
      wire: 89e6,
      raw: 287129600,
    },
    cpuMs: {
      source: {
        agent: 900,
        qemu: 700,
      },
      destination: {
        agent: 600,
        qemu: null,
      },
    },
    ...{
      verified: true,
      predicted: null,
    },
    ...change,
  };
}

export type Answer = {
  readonly status: number;
  readonly body: string;
  /** Called before the body is given out. */
  readonly before?: () => void | Promise<void>;
};

/** A console that keeps what is written, talking to an agent that answers from a script. */
export class TestConsole implements Console {
  readonly out: string[] = [];
  readonly remarks: string[] = [];
  readonly requests: TransportRequest[] = [];
  left: number | null = null;
  readonly #answer: (request: TransportRequest) => Answer;
  readonly #interrupted = new Set<() => void>();

  constructor(answer: (request: TransportRequest) => Answer) {
    this.#answer = answer;
  }

  readonly print = (text: string): void => void this.out.push(text);
  readonly remark = (text: string): void => void this.remarks.push(text);
  readonly screen = {
    write: (text: string): void => void this.remarks.push(text.trimEnd()),
    width: () => null,
    nowMs: () => 0,
  };
  readonly leave = (code: number): void => void (this.left ??= code);
  readonly connect = (): AgentClient => new AgentClient(this.#transport());
  readonly onInterrupt = (listener: () => void): (() => void) => {
    this.#interrupted.add(listener);
    return () => this.#interrupted.delete(listener);
  };

  interrupt(): void {
    for (const listener of this.#interrupted) listener();
  }

  get result(): unknown {
    return JSON.parse(this.out.join('\n'));
  }

  #transport(): Transport {
    return {
      request: async (request) => {
        this.requests.push(request);
        const { status, body, before } = this.#answer(request);
        await Promise.resolve();
        return { status, body: pieces(body, before) };
      },
      close: async () => undefined,
    };
  }
}

async function* pieces(body: string, before: Answer['before']): AsyncGenerator<Uint8Array> {
  try {
    await before?.();
  } catch (error) {
    throw new Error(describeError(error), { cause: error });
  }
  // Cut in the middle: a client must put the pieces together.
  const bytes = new TextEncoder().encode(body);
  yield bytes.subarray(0, bytes.length >> 1);
  yield bytes.subarray(bytes.length >> 1);
}
