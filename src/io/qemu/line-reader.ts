/**
 * Cuts a byte stream into lines of bounded length, for QMP and the guest agent.
 *
 * Both protocols send one JSON value per line. A peer that never ends its line must not make us keep its bytes for
 * ever, so a line longer than `lineBytesMax` is reported once and the stream is given up.
 */
export class LineReader {
  readonly #lineBytesMax: number;
  #parts: Buffer[] = [];
  #bytes = 0;

  constructor(lineBytesMax: number) {
    this.#lineBytesMax = lineBytesMax;
  }

  /** The lines that end in this chunk, without their newline; null when a line is longer than allowed. */
  push(chunk: Buffer): string[] | null {
    const lines: string[] = [];
    let from = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, from)) {
      if (this.#bytes + end - from > this.#lineBytesMax) return null;
      lines.push(this.#take(chunk.subarray(from, end)));
      from = end + 1;
    }
    if (from < chunk.length) {
      this.#parts.push(chunk.subarray(from));
      this.#bytes += chunk.length - from;
    }
    return this.#bytes > this.#lineBytesMax ? null : lines;
  }

  /** Forgets the line begun; the guest agent's 0xFF marker asks for that. */
  reset(): void {
    this.#parts = [];
    this.#bytes = 0;
  }

  #take(last: Buffer): string {
    const line = this.#parts.length === 0 ? last : Buffer.concat([...this.#parts, last]);
    this.reset();
    return line.toString('utf8').trim();
  }
}
