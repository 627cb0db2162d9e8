/** A tiny QEMU under QMP, for recording migration streams and for loading them again. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';

export type Answer = { readonly return?: unknown; readonly error?: { readonly desc: string } };

export class GoldenQemu {
  readonly #child: ChildProcess;
  readonly #waiting: ((answer: Answer) => void)[] = [];
  readonly #exited: Promise<void>;

  private constructor(binary: string, args: readonly string[]) {
    const common = ['-m', '16M', '-display', 'none', '-vga', 'none', '-nodefaults', '-accel', 'tcg', '-qmp', 'stdio'];
    this.#child = spawn(binary, [...common, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#exited = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => {
        for (const waiter of this.#waiting.splice(0)) waiter({ error: { desc: `QEMU ended: ${code ?? signal}` } });
        resolve();
      });
    });
    if (this.#child.stdout === null) throw new Error('QEMU has no standard output');
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const message = JSON.parse(line) as Answer;
      if ('return' in message || 'error' in message) this.#waiting.shift()?.(message);
    });
  }

  static async start(binary: string, args: readonly string[]): Promise<GoldenQemu> {
    const qemu = new GoldenQemu(binary, args);
    await qemu.execute('qmp_capabilities');
    return qemu;
  }

  /** One QMP command; throws what QEMU answers as an error. */
  async execute<T = unknown>(command: string, parameters: object = {}): Promise<T> {
    const answer = new Promise<Answer>((resolve) => this.#waiting.push(resolve));
    this.#child.stdin?.write(`${JSON.stringify({ execute: command, arguments: parameters })}\n`);
    const { error, return: value } = await answer;
    if (error !== undefined) throw new Error(`${command}: ${error.desc}`);
    return value as T;
  }

  async setCapabilities(capabilities: Readonly<Record<string, boolean>>): Promise<void> {
    const list = Object.entries(capabilities).map(([capability, state]) => ({ capability, state }));
    await this.execute('migrate-set-capabilities', { capabilities: list });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }
}
