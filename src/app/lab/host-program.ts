/**
 * A program of ours on a lab host, as a process of its own: what it sees is what somebody on the network sees. It says something
 * when it is ready, and then answers each question with one message.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { LabError } from './errors.ts';
import type { LabHostPlan } from './plan.ts';

export type HostProgramOptions = {
  readonly host: Pick<LabHostPlan, 'namespace'>;
  readonly program: URL;
  readonly argv: readonly (string | number)[];
  /** For people, "The receiver of heartbeats". */
  readonly name: string;
  readonly answerTimeoutMs: number;
};

export class HostProgram {
  readonly #options: HostProgramOptions;
  readonly #child: ChildProcess;

  private constructor(options: HostProgramOptions) {
    const { host, program, argv } = options;
    const node = [process.execPath, '--disable-warning=ExperimentalWarning', fileURLToPath(program)];
    const all = ['netns', 'exec', host.namespace, ...node, ...argv.map(String)];
    this.#options = options;
    this.#child = spawn('ip', all, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    this.#child.on('error', () => undefined);
  }

  /** Returns when it is ready. Throws LabError LAB_COMMAND. */
  static async start(options: HostProgramOptions): Promise<HostProgram> {
    const program = new HostProgram(options);
    await program.#answer();
    return program;
  }

  /** Throws LabError LAB_COMMAND where it does not answer; it is told to end then. */
  async ask(question: string): Promise<unknown> {
    const answer = this.#answer();
    this.#child.send(question, () => undefined);
    return await answer;
  }

  /** It ends when its parent has let go of it. */
  stop(): void {
    if (this.#child.connected) this.#child.disconnect();
  }

  async #answer(): Promise<unknown> {
    const { name, answerTimeoutMs } = this.#options;
    const ended = new AbortController();
    const signal = AbortSignal.any([ended.signal, AbortSignal.timeout(answerTimeoutMs)]);
    const end = (): void => ended.abort();
    this.#child.once('exit', end);
    try {
      const [message] = (await once(this.#child, 'message', { signal })) as [unknown];
      return message;
    } catch (cause) {
      this.stop();
      throw new LabError('LAB_COMMAND', `${name} does not answer`, {}, { cause });
    } finally {
      this.#child.off('exit', end);
    }
  }
}
