/**
 * What the stream reader tells, in stream order. Calls are synchronous; an error thrown by a sink stops the reader.
 *
 *     configuration, (command)*, blocks, (command)*, prologue, (page, payload?)* partEnd ..., [switchoverStart],
 *     ramEndStarted, (page, payload?)*, ramEnded, deviceState
 */
import type { PageKind } from './constants.ts';

export type RamBlock = {
  readonly name: string;
  /** A multiple of the target page. */
  readonly usedBytes: number;
};

export type VmStreamSink = {
  /** Versioned machine type, for example "pc-q35-7.2". */
  configuration(machineType: string): void;
  /** RAM blocks in stream order: `block` elsewhere is the index in this list. Call `setCapture` from here on. */
  blocks(list: readonly RamBlock[]): void;
  /**
   * Verbatim bytes from the file header to the end of the last section before the first PART (or END) of RAM, without
   * command elements. Called when that PART (or END) begins. The bytes are the receiver's to keep.
   */
  prologue(bytes: Uint8Array<ArrayBuffer>): void;
  /** A command that was dropped: OPEN_RETURN_PATH (1, empty) or PING (2, be32). Valid during the call only. */
  command(number: number, payload: Uint8Array): void;
  /** Hot. Page `page` of block `block` was dirty; its content may still be on the way. */
  page(block: number, page: number, kind: PageKind): void;
  /** Content of a data page of a captured block, one whole page, valid during the call only. Follows its `page`. */
  payload(block: number, page: number, bytes: Uint8Array): void;
  /** A PART of RAM is complete (its footer may still be on the way) and named this many pages, repeats included. */
  partEnd(pages: number): void;
  /** Only machine types >= 10.0: vCPUs are stopped. */
  switchoverStart(): void;
  /** The END section of RAM has begun: vCPUs are stopped, and every page that is still dirty follows. */
  ramEndStarted(): void;
  /** No page follows. */
  ramEnded(): void;
  /** Every device section, verbatim, footers included, without EOF: the stream is complete. The receiver's to keep. */
  deviceState(bytes: Uint8Array<ArrayBuffer>): void;
};
