/** A series of values as one line of blocks. Pure. */
const BLOCKS = ' ▁▂▃▄▅▆▇█';

/**
 * The newest value is at the right. `top` is the value of a full block; values that are not known are blanks, and anything
 * that is not nothing shows at least the smallest block.
 */
export function sparkline(values: readonly (number | null)[], chars: number, top: number): string {
  const perChar = Math.max(1, Math.ceil(values.length / Math.max(1, chars)));
  let line = '';
  for (let end = values.length; end > 0 && line.length < chars; end -= perChar) {
    line = blockOf(meanOf(values.slice(Math.max(0, end - perChar), end)), top) + line;
  }
  return line.padStart(chars);
}

function meanOf(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length;
}

function blockOf(value: number | null, top: number): string {
  if (value === null) return ' ';
  const level = top <= 0 ? 1 : Math.ceil((value / top) * (BLOCKS.length - 1));
  return BLOCKS[Math.min(BLOCKS.length - 1, Math.max(1, level))] ?? ' ';
}
