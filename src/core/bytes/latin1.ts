/**
 * Names on the wire as strings, one byte per character: ASCII in practice, and no byte is ever lost or refused, so that
 * a name that came in goes out unchanged. `core` has neither Buffer nor TextDecoder.
 */
import { BytesError } from './errors.ts';

/** Characters per `fromCharCode` call: the argument list lives on the stack. */
const PIECE_BYTES = 4096;

/** The bytes [from, to) as a string; the caller has checked the range. */
export function decodeLatin1(bytes: Uint8Array, from: number, to: number): string {
  if (to - from <= PIECE_BYTES) return piece(bytes, from, to);
  let text = '';
  for (let at = from; at < to; at += PIECE_BYTES) text += piece(bytes, at, Math.min(at + PIECE_BYTES, to));
  return text;
}

/** One byte per character. Throws BytesError for a character above 255. */
export function encodeLatin1(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 255) throw new BytesError('BYTES_NUMBER', `"${text}" has a character that is not one byte`);
    bytes[i] = code;
  }
  return bytes;
}

function piece(bytes: Uint8Array, from: number, to: number): string {
  return String.fromCharCode.apply(null, bytes.subarray(from, to) as unknown as number[]);
}
