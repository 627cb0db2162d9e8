/** Text tables that line up: numbers to the right, the rest to the left. Pure. */

/** `align`: one letter per column, l or r. Cells are single-line texts. */
export function formatTable(header: readonly string[], rows: readonly (readonly string[])[], align: string): string[] {
  const widths = header.map((title, column) =>
    Math.max(...[header, ...rows].map((row) => (row[column] ?? '').length), title.length),
  );
  return [header, ...rows].map((row) =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return align[column] === 'r' ? cell.padStart(width) : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd(),
  );
}
