/**
 * Shows views while they come: redraws in place on a terminal, appends lines elsewhere. Throttled; the text itself is
 * made by progress.ts.
 */
import type { MigrationView } from '../../core/model/migration.ts';
import { renderPlain, renderProgress } from './progress.ts';

const REDRAW_MS = 100;
const PLAIN_LINE_MS = 1000;

export type Screen = {
  readonly write: (text: string) => void;
  /** Null: not a terminal. Asked at every redraw, so that a resized window is noticed. */
  readonly width: () => number | null;
  readonly nowMs: () => number;
};

export class LiveDisplay {
  readonly #screen: Screen;
  #lines = 0;
  #lastMs = -Infinity;
  #lastStage = '';

  constructor(screen: Screen) {
    this.#screen = screen;
  }

  show(view: MigrationView): void {
    const width = this.#screen.width();
    const nowMs = this.#screen.nowMs();
    const stage = `${view.stage} ${view.round}`;
    const due = nowMs - this.#lastMs >= (width === null ? PLAIN_LINE_MS : REDRAW_MS);
    if (!due && stage === this.#lastStage && view.stage !== 'ended') return;
    this.#lastMs = nowMs;
    this.#lastStage = stage;
    if (width === null) {
      this.#screen.write(`${renderPlain(view)}\n`);
      return;
    }
    this.clear();
    const lines = renderProgress(view, width);
    this.#lines = lines.length;
    this.#screen.write(`${lines.join('\n')}\n`);
  }

  /** A line of its own above the display. */
  note(text: string): void {
    this.clear();
    this.#screen.write(`${text}\n`);
  }

  /** Takes the display off the terminal. */
  clear(): void {
    // Up to the first of our lines, then erase to the end of the screen (ECMA-48 CPL, ED).
    if (this.#lines > 0) this.#screen.write(`\u001b[${this.#lines}F\u001b[J`);
    this.#lines = 0;
  }
}
