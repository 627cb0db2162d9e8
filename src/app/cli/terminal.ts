/** A terminal that a command has for itself: the other screen of it, keys one by one, and everything as it was at the end. */

export type Terminal = {
  readonly size: () => { readonly columns: number; readonly rows: number };
  readonly isColored: boolean;
  readonly write: (text: string) => void;
  /** One listener for both: a key was pressed (as its text), or the window has another size ("resize"). */
  readonly onEvent: (listener: (event: string) => void) => void;
  /** Puts everything back. May be repeated. */
  readonly close: () => void;
};

/** The alternative screen, without a cursor (xterm's 1049, DECTCEM). */
const ENTER = '\u001b[?1049h\u001b[?25l';
const LEAVE = '\u001b[?25h\u001b[?1049l';

/** Null where input or output is no terminal. */
export function openTerminal(): Terminal | null {
  const { stdin, stdout } = process;
  if (!stdin.isTTY || !stdout.isTTY) return null;
  let listener: (event: string) => void = () => undefined;
  const onData = (bytes: Buffer): void => listener(bytes.toString('utf8'));
  const onResize = (): void => listener('resize');
  const onSignal = (): void => process.exit(143);
  let isOpen = true;
  const close = (): void => {
    if (!isOpen) return;
    isOpen = false;
    stdin.off('data', onData).setRawMode(false).pause();
    stdout.off('resize', onResize).write(LEAVE);
    process.off('SIGTERM', onSignal).off('SIGHUP', onSignal).off('exit', close);
  };
  stdin.setRawMode(true).resume().on('data', onData);
  stdout.on('resize', onResize).write(ENTER);
  process.on('SIGTERM', onSignal).on('SIGHUP', onSignal).on('exit', close);
  return {
    size: () => ({ columns: stdout.columns, rows: stdout.rows }),
    isColored: process.env['NO_COLOR'] === undefined,
    write: (text) => void stdout.write(text),
    onEvent: (next) => (listener = next),
    close,
  };
}
