/**
 * Control messages to bytes and back. The parser is a push parser: it is given whatever arrived and returns the
 * messages that are complete. It is total: any bytes give messages or a ControlWireError, and after an error it stays
 * broken, since nothing that follows can be trusted to be aligned.
 */
import { assert } from '../base/assert.ts';
import {
  attachmentTypes,
  controlMessageSchema,
  controlMessageTypes,
  type ControlMessage,
  type MessageOf,
} from './control-messages.ts';
import { ControlWireError } from './errors.ts';
import {
  FRAME_HEADER_BYTES,
  FrameType,
  HEAD_SIZE_BYTES,
  readFrameHeader,
  splitPayload,
  writeFrameHeader,
  type FrameHeader,
} from './frame.ts';
import { ATTACHMENT_BYTES_MAX, HEAD_BYTES_MAX, TEXT_CHARS_MAX } from './limits.ts';

export type ReceivedMessage = {
  readonly message: ControlMessage;
  /** Bytes behind the JSON, for `prologue` and `epilogue` only. A view of what was pushed: copy it to keep it long. */
  readonly attachment: Uint8Array | null;
};

/**
 * A message as one frame, in pieces to be written one after the other (the attachment is not copied). Texts for people
 * that are too long are cut. Throws ControlWireError when the head is too long, which an enormous VM spec can cause.
 */
export function encodeControl(message: ControlMessage, attachment: Uint8Array | null = null): Uint8Array[] {
  const needed = attachmentTypes.has(message.type);
  assert((attachment !== null) === needed, `${message.type} ${needed ? 'has' : 'has no'} attachment`);
  assert((attachment?.length ?? 0) <= ATTACHMENT_BYTES_MAX, 'long attachments are cut by attachmentChunks');
  const head = asciiJson(message);
  if (head.length > HEAD_BYTES_MAX) {
    throw new ControlWireError(
      'WIRE_HEAD_LENGTH',
      `A ${message.type} of ${head.length} bytes exceeds ${HEAD_BYTES_MAX}`,
    );
  }
  const sizeBytes = attachment === null ? 0 : HEAD_SIZE_BYTES;
  const out = new Uint8Array(FRAME_HEADER_BYTES + sizeBytes + head.length);
  writeFrameHeader(out, {
    type: attachment === null ? FrameType.message : FrameType.messageWithAttachment,
    payloadBytes: sizeBytes + head.length + (attachment?.length ?? 0),
  });
  if (attachment !== null) new DataView(out.buffer).setUint32(FRAME_HEADER_BYTES, head.length);
  for (let i = 0, at = FRAME_HEADER_BYTES + sizeBytes; i < head.length; i++) out[at + i] = head.charCodeAt(i);
  return attachment === null || attachment.length === 0 ? [out] : [out, attachment];
}

/** A byte string cut into attachments; an empty one gives one empty attachment. */
export function attachmentChunks(bytes: Uint8Array, chunkBytes: number = ATTACHMENT_BYTES_MAX): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += chunkBytes) chunks.push(bytes.subarray(at, at + chunkBytes));
  return chunks.length === 0 ? [bytes] : chunks;
}

/** The epilogue as messages with their attachments: `last` is true on the last one only. */
export function epilogueMessages(bytes: Uint8Array): { message: MessageOf<'epilogue'>; attachment: Uint8Array }[] {
  const chunks = attachmentChunks(bytes);
  return chunks.map((attachment, i) => ({ message: { type: 'epilogue', last: i === chunks.length - 1 }, attachment }));
}

/**
 * Turns the bytes of one connection into messages.
 *
 * Invariant: `#partial` is the header or payload under way, filled up to `#filled`; it exists only while a record is
 * spread over several pushes. A header that lies about its length costs at most one payload buffer per connection.
 */
export class ControlParser {
  #header: FrameHeader | null = null;
  #partial: Uint8Array | null = null;
  #filled = 0;
  #error: ControlWireError | null = null;

  /** Messages completed by these bytes, in order; throws ControlWireError at the first illegal byte and ever after. */
  push(chunk: Uint8Array): ReceivedMessage[] {
    if (this.#error !== null) throw this.#error;
    const messages: ReceivedMessage[] = [];
    try {
      for (let at = 0; at < chunk.length;) {
        const wanted = this.#header?.payloadBytes ?? FRAME_HEADER_BYTES;
        const rest = chunk.subarray(at, at + wanted - this.#filled);
        at += rest.length;
        const record = this.#complete(rest, wanted);
        if (record !== null) this.#accept(record, messages);
      }
    } catch (error) {
      if (error instanceof ControlWireError) this.#error = error;
      throw error;
    }
    return messages;
  }

  /** To be called when the connection ended: throws WIRE_TRUNCATED if that was inside a frame. */
  finish(): void {
    if (this.#filled === 0 && this.#header === null) return;
    const what = this.#header === null ? 'a frame header' : `a payload of ${this.#header.payloadBytes} bytes`;
    throw new ControlWireError('WIRE_TRUNCATED', `The connection ended after ${this.#filled} bytes of ${what}`);
  }

  /** The record that these bytes complete, or null. Copies only what is spread over several pushes. */
  #complete(bytes: Uint8Array, wanted: number): Uint8Array | null {
    if (this.#partial === null && bytes.length === wanted) return bytes;
    this.#partial ??= new Uint8Array(wanted);
    this.#partial.set(bytes, this.#filled);
    this.#filled += bytes.length;
    if (this.#filled < wanted) return null;
    const record = this.#partial;
    this.#partial = null;
    this.#filled = 0;
    return record;
  }

  #accept(record: Uint8Array, messages: ReceivedMessage[]): void {
    if (this.#header === null) {
      this.#header = readFrameHeader(record);
      return;
    }
    const { head, attachment } = splitPayload(this.#header.type, record);
    this.#header = null;
    const message = decodeHead(head);
    if ((attachment !== null) !== attachmentTypes.has(message.type)) {
      const how = attachment === null ? 'without' : 'with an';
      throw new ControlWireError('WIRE_ATTACHMENT', `Message ${message.type} came ${how} attachment`);
    }
    messages.push({ message, attachment });
  }
}

function decodeHead(head: Uint8Array): ControlMessage {
  const value = parseAsciiJson(head);
  const type: unknown = typeof value === 'object' && value !== null && 'type' in value ? value.type : undefined;
  if (typeof type !== 'string' || !controlMessageTypes.has(type)) {
    const shown = typeof type === 'string' ? `"${type.slice(0, 40)}"` : 'without a type';
    throw new ControlWireError('WIRE_MESSAGE_UNKNOWN', `Message ${shown} is unknown`);
  }
  const result = controlMessageSchema.safeParse(value);
  if (result.success) return result.data;
  const issues = result.error.issues.slice(0, 3).map((issue) => `${issue.path.join('.') || type}: ${issue.message}`);
  throw new ControlWireError(
    'WIRE_MESSAGE_INVALID',
    `Message ${type} is not valid: ${issues.join('; ').slice(0, 500)}`,
  );
}

/** JSON whose other than ASCII characters are escaped; texts for people are cut to what the peer accepts. */
function asciiJson(message: ControlMessage): string {
  const json = JSON.stringify(message, (key, value: unknown) =>
    (key === 'message' || key === 'reason') && typeof value === 'string' && value.length > TEXT_CHARS_MAX
      ? `${value.slice(0, TEXT_CHARS_MAX - 4)} ...`
      : value,
  );
  return json.replace(/[\u007f-\uffff]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function parseAsciiJson(head: Uint8Array): unknown {
  const parts: string[] = [];
  for (let at = 0; at < head.length; at += 4096) parts.push(String.fromCharCode(...head.subarray(at, at + 4096)));
  const text = parts.join('');
  // oxlint-disable-next-line no-control-regex -- the whole range of ASCII is meant
  if (!/^[\x00-\x7f]*$/.test(text))
    throw new ControlWireError('WIRE_HEAD_SYNTAX', 'The head of a message is not ASCII');
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ControlWireError('WIRE_HEAD_SYNTAX', 'The head of a message is not JSON', {}, { cause });
  }
}
