/**
 * Redis's protocol (RESP 2), as far as a client needs it: commands out, replies in. The reader is pushed bytes as they come
 * and gives back the replies that they complete; what is malformed or larger than its limit is an error.
 *
 *     "+OK\r\n"  "-ERR text\r\n"  ":17\r\n"  "$3\r\nabc\r\n"  "$-1\r\n" (nothing)
 */
export type RespReply =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'error'; readonly text: string }
  | { readonly type: 'integer'; readonly value: number }
  | { readonly type: 'nothing' };

/** Far above what our values need. */
const BULK_BYTES_MAX = 1 << 20;
const LINE_BYTES_MAX = 4096;

export class RespError extends Error {
  override readonly name = 'RespError';
}

export function encodeCommand(...words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`;
}

export class RespReader {
  #rest: Buffer = Buffer.alloc(0);

  /** Throws RespError; after that the connection is of no use. */
  push(bytes: Buffer): RespReply[] {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    const replies: RespReply[] = [];
    let at = 0;
    for (let found = this.#replyAt(at); found !== null; found = this.#replyAt(at)) {
      replies.push(found.reply);
      at = found.end;
    }
    this.#rest = this.#rest.subarray(at);
    return replies;
  }

  #replyAt(at: number): { readonly reply: RespReply; readonly end: number } | null {
    const lineEnd = this.#rest.indexOf('\r\n', at);
    if (lineEnd < 0) {
      if (this.#rest.length - at > LINE_BYTES_MAX) throw new RespError(`A line of more than ${LINE_BYTES_MAX} bytes`);
      return null;
    }
    const text = this.#rest.toString('utf8', at + 1, lineEnd);
    const end = lineEnd + 2;
    switch (this.#rest[at]) {
      case 0x2b:
        return { reply: { type: 'text', text }, end };
      case 0x2d:
        return { reply: { type: 'error', text }, end };
      case 0x3a:
        return { reply: { type: 'integer', value: integerOf(text) }, end };
      case 0x24:
        return this.#bulkAt(end, integerOf(text));
      default:
        throw new RespError(`A reply begins with byte ${this.#rest[at]}`);
    }
  }

  #bulkAt(start: number, bytes: number): { readonly reply: RespReply; readonly end: number } | null {
    if (bytes === -1) return { reply: { type: 'nothing' }, end: start };
    if (bytes < 0 || bytes > BULK_BYTES_MAX) throw new RespError(`A value of ${bytes} bytes`);
    const end = start + bytes + 2;
    if (this.#rest.length < end) return null;
    if (this.#rest.toString('latin1', end - 2, end) !== '\r\n')
      throw new RespError('A value does not end where it must');
    return { reply: { type: 'text', text: this.#rest.toString('utf8', start, end - 2) }, end };
  }
}

function integerOf(text: string): number {
  if (!/^-?\d{1,15}$/.test(text)) throw new RespError(`"${text}" is no integer`);
  return Number(text);
}
