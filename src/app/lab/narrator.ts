/** Tells a person what is happening: headings, results, and on a terminal how long the present step has taken so far. */
import { formatMs } from '../../core/model/units.ts';

export type Terminal = {
  readonly write: (text: string) => void;
  readonly isTerminal: () => boolean;
  readonly nowMs: () => number;
};

const TICK_MS = 1000;

export class Narrator {
  readonly #terminal: Terminal;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  heading(text: string): void {
    this.#terminal.write(`\n${text}\n`);
  }

  line(text: string): void {
    this.#terminal.write(`  ${text}\n`);
  }

  /**
   * Says what is done while it is done, then `text: RESULT (2.31 s)`. On a terminal the first is replaced by the second,
   * elsewhere only the second is written.
   */
  async during<T>(text: string, work: Promise<T>, result: (value: T) => string = () => 'done'): Promise<T> {
    const startMs = this.#terminal.nowMs();
    const elapsedMs = (): number => this.#terminal.nowMs() - startMs;
    const show = (): void => this.#present(`${text} ... ${Math.round(elapsedMs() / 1000)} s`);
    if (this.#terminal.isTerminal()) show();
    const timer = this.#terminal.isTerminal() ? setInterval(show, TICK_MS) : null;
    try {
      const value = await work;
      this.#present('');
      this.line(`${text}: ${result(value)} (${formatMs(elapsedMs())})`);
      return value;
    } catch (error) {
      this.#present('');
      this.line(`${text}: failed`);
      throw error;
    } finally {
      if (timer !== null) clearInterval(timer);
    }
  }

  /** Replaces the line that the cursor is on (ECMA-48 CHA by carriage return, EL). */
  #present(text: string): void {
    if (this.#terminal.isTerminal()) this.#terminal.write(`\r\u001b[K${text === '' ? '' : `  ${text}`}`);
  }
}
