/** Lines of a screen as pieces with a style each, so that they can be cut to a width before they are painted. Pure. */

export type Style = 'plain' | 'bold' | 'faint' | 'good' | 'warm' | 'hot' | 'bar';
export type Span = { readonly text: string; readonly style: Style };
export type Line = readonly Span[];

/** ECMA-48 SGR. */
const codes: Readonly<Record<Exclude<Style, 'plain'>, string>> = {
  bold: '1',
  faint: '2',
  good: '32',
  warm: '33',
  hot: '31',
  bar: '7',
};

export const span = (text: string, style: Style = 'plain'): Span => ({ text, style });

export function widthOf(line: Line): number {
  return line.reduce((sum, { text }) => sum + text.length, 0);
}

/** Not wider than `width`. */
export function cut(line: Line, width: number): Line {
  const kept: Span[] = [];
  let room = width;
  for (const { text, style } of line) {
    if (room <= 0) break;
    kept.push(span(text.slice(0, room), style));
    room -= text.length;
  }
  return kept;
}

/** Two halves, the second one at the right edge; the second is left out where there is no room. */
export function spread(left: Line, right: Line, width: number): Line {
  const gap = width - widthOf(left) - widthOf(right);
  return gap < 2 ? cut(left, width) : [...left, span(' '.repeat(gap)), ...right];
}

export function paint(line: Line, isColored: boolean): string {
  const text = line.map((piece) =>
    isColored && piece.style !== 'plain' ? `\u001b[${codes[piece.style]}m${piece.text}\u001b[0m` : piece.text,
  );
  return isColored ? text.join('') : text.join('').trimEnd();
}
