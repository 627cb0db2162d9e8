/**
 * Layout of a frame of the control connection. All integers are big-endian.
 *
 *     offset size field
 *          0    1 type          1 = message, 2 = message with attachment; 0 is invalid
 *          1    1 flags         zero in version 1
 *          2    2 reserved      zero
 *          4    4 payload_size  bytes after the header, at most FRAME_PAYLOAD_BYTES_MAX
 *
 *     payload of type 1:  the head, JSON
 *     payload of type 2:  u32 head_size, the head, the attachment (rest of the payload, may be empty)
 *
 * The head is JSON in ASCII (other characters as \uXXXX): its size is its number of characters, and there is no
 * malformed encoding to think about.
 */
import { ControlWireError } from './errors.ts';
import { ATTACHMENT_BYTES_MAX, FRAME_PAYLOAD_BYTES_MAX, HEAD_BYTES_MAX } from './limits.ts';

export const FRAME_HEADER_BYTES = 8;
/** Length of the field that separates head and attachment in frames of type 2. */
export const HEAD_SIZE_BYTES = 4;

export const FrameType = { message: 1, messageWithAttachment: 2 } as const;
export type FrameType = (typeof FrameType)[keyof typeof FrameType];

export type FrameHeader = { readonly type: FrameType; readonly payloadBytes: number };

/** Writes a header at the beginning of `out`. */
export function writeFrameHeader(out: Uint8Array, header: FrameHeader): void {
  const view = new DataView(out.buffer, out.byteOffset, FRAME_HEADER_BYTES);
  view.setUint8(0, header.type);
  view.setUint8(1, 0);
  view.setUint16(2, 0);
  view.setUint32(4, header.payloadBytes);
}

/** Reads and checks the header at the beginning of `bytes`, which holds at least FRAME_HEADER_BYTES. Throws ControlWireError. */
export function readFrameHeader(bytes: Uint8Array): FrameHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, FRAME_HEADER_BYTES);
  const type = view.getUint8(0);
  if (type !== FrameType.message && type !== FrameType.messageWithAttachment) {
    throw new ControlWireError('WIRE_FRAME_TYPE', `Frame type ${type} is unknown`, { type });
  }
  if (view.getUint8(1) !== 0 || view.getUint16(2) !== 0) {
    throw new ControlWireError('WIRE_FRAME_RESERVED', 'Reserved bytes of a frame header are not zero');
  }
  const payloadBytes = view.getUint32(4);
  if (payloadBytes === 0) throw new ControlWireError('WIRE_HEAD_LENGTH', 'A frame has no payload');
  const most = type === FrameType.message ? HEAD_BYTES_MAX : FRAME_PAYLOAD_BYTES_MAX;
  if (payloadBytes > most) {
    throw new ControlWireError('WIRE_FRAME_TOO_LONG', `Frame payload of ${payloadBytes} bytes exceeds ${most}`, {
      payloadBytes,
    });
  }
  return { type, payloadBytes };
}

export type FrameParts = { readonly head: Uint8Array; readonly attachment: Uint8Array | null };

/** Cuts a complete payload into head and attachment without copying. Throws ControlWireError. */
export function splitPayload(type: FrameType, payload: Uint8Array): FrameParts {
  if (type === FrameType.message) return { head: payload, attachment: null };
  if (payload.length < HEAD_SIZE_BYTES) {
    throw new ControlWireError(
      'WIRE_HEAD_LENGTH',
      `A payload of ${payload.length} bytes has no room for its head size`,
    );
  }
  const headBytes = new DataView(payload.buffer, payload.byteOffset, HEAD_SIZE_BYTES).getUint32(0);
  const end = HEAD_SIZE_BYTES + headBytes;
  if (headBytes > HEAD_BYTES_MAX || end > payload.length) {
    throw new ControlWireError(
      'WIRE_HEAD_LENGTH',
      `A head of ${headBytes} bytes does not fit in a payload of ${payload.length} bytes`,
      { headBytes },
    );
  }
  if (payload.length - end > ATTACHMENT_BYTES_MAX) {
    throw new ControlWireError(
      'WIRE_FRAME_TOO_LONG',
      `An attachment of ${payload.length - end} bytes exceeds ${ATTACHMENT_BYTES_MAX}`,
    );
  }
  return { head: payload.subarray(HEAD_SIZE_BYTES, end), attachment: payload.subarray(end) };
}
