/** A stand-in console for tests of this room. */
import { describeError } from '../../core/base/errors.ts';
import { AgentClient } from '../client/agent-client.ts';
import type { Transport, TransportRequest } from '../client/transport.ts';
import type { Console } from './console.ts';
import type { Terminal } from './terminal.ts';

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
  /** Where there is one. */
  terminal: Terminal | null = null;
  readonly openTerminal = (): Terminal | null => this.terminal;
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
