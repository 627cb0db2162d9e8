/**
 * Push parser of the migration stream that a QEMU source sends in plain precopy (7.2 to 10.2).
 *
 * Total and synchronous: any bytes, cut anywhere, give the same calls of the sink or one VmStreamError, after which the
 * reader stays failed. It acts on a section's EOS without waiting for the footer, which QEMU sends with its next write.
 *
 *     header -> configuration -> elements { START ram | early FULL | PART | END | COMMAND } -> device tail -> done
 *
 * Everything that it cannot parse exactly it refuses, and QEMU sends all STARTs during setup: before the guest stops.
 */
import { assert } from '../base/assert.ts';
import { readU16, readU32, readU64 } from '../bytes/big-endian.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { FieldBuffer } from '../bytes/field-buffer.ts';
import { decodeLatin1 } from '../bytes/latin1.ts';
import { ConfigurationReader } from './configuration-reader.ts';
import { Command, Element, FILE_MAGIC, FILE_VERSION, RAM_SECTION_NAME, RAM_SECTION_VERSION } from './constants.ts';
import { DeviceTail } from './device-tail.ts';
import { NAME_BYTES_MAX, PROLOGUE_BYTES_MAX } from './limits.ts';
import { RamReader } from './ram-reader.ts';
import { fail, refuseCommand, refuseEarlyFull, refuseMachine, refuseStart, unknownElement } from './refusals.ts';
import type { VmStreamSink } from './sink.ts';

/** Where the reader is. All but the last four wait for one whole field. */
type Phase =
  | 'header' // be32 magic, be32 version, u8 CONFIGURATION
  | 'configuration' // fields of the configuration section
  | 'element' // u8
  | 'ramSectionId' // be32, of PART and END
  | 'sectionHeader' // be32 id, u8 length of the name, of START and FULL
  | 'sectionName' // name, be32 instance, be32 version
  | 'commandHeader' // be16 number, be16 length
  | 'commandPayload'
  | 'virtioMem' // the fixed part of virtio-mem's early state
  | 'footer' // u8, be32
  | 'bitmap' // the rest of virtio-mem's early state
  | 'ram' // payload of a RAM section
  | 'tail' // device state
  | 'done';

const HEADER_BYTES = 9;
const SECTION_HEADER_BYTES = 5;
const COMMAND_HEADER_BYTES = 4;
const FOOTER_BYTES = 5;
const FIELD_BYTES_MAX = NAME_BYTES_MAX + 8;

/** virtio_mem_early: be64 addr, be64 region_size, be64 block_size, be32 node, be64 size, then the bitmap */
const VIRTIO_MEM_NAME = 'virtio-mem-device-early';
const VIRTIO_MEM_BYTES = 36;
const VIRTIO_MEM_VERSION = 1;

const nothing = new Uint8Array(0);

export class VmStreamReader {
  readonly #sink: VmStreamSink;
  readonly #field = new FieldBuffer(FIELD_BYTES_MAX);
  readonly #configuration: ConfigurationReader;
  readonly #ram: RamReader;
  readonly #prologue = new ByteWriter(PROLOGUE_BYTES_MAX);
  readonly #earlyNames: string[] = [];
  #tail: DeviceTail | null = null;
  #phase: Phase = 'header';
  #need = HEADER_BYTES;
  /** The prologue is kept up to 'flowing'. */
  #ramStage: 'absent' | 'listed' | 'flowing' | 'ended' = 'absent';
  #ramSectionId = 0;
  #switchoverStarted = false;
  /** Only subsections may follow directly on the configuration. */
  #configurationOpen = false;
  #element = 0;
  #sectionId = 0;
  #command = 0;
  #bitmapBytes = 0;
  /** Positions in the stream: of the chunk, and of the field being taken. */
  #base = 0;
  #offset = 0;
  #failure: Error | undefined = undefined;

  constructor(sink: VmStreamSink) {
    this.#sink = sink;
    this.#ram = new RamReader(sink);
    this.#configuration = new ConfigurationReader((machineType) => sink.configuration(machineType));
  }

  /** Id of the RAM section, 0 before its START. */
  get ramSectionId(): number {
    return this.#ramSectionId;
  }

  /** Whether SWITCHOVER_START was seen: the destination must get it too. */
  get sawSwitchoverStart(): boolean {
    return this.#switchoverStarted;
  }

  /** The device state has been told: nothing more may come. */
  get done(): boolean {
    return this.#phase === 'done';
  }

  /** Bytes of the chunks read so far. */
  get offsetBytes(): number {
    return this.#base;
  }

  /**
   * Whether content of this block's data pages is handed to `payload`. Valid from `blocks` on; a call from within `page`
   * or `payload` takes effect later in the same section.
   */
  setCapture(block: number, captured: boolean): void {
    assert(block >= 0 && block < this.#ram.blockCount, 'capture names a block of the list');
    this.#ram.setCapture(block, captured);
  }

  /** The next bytes of the stream; they are not kept. Throws VmStreamError, or what the sink threw. */
  push(chunk: Uint8Array): void {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      this.#run(chunk);
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error));
      throw error;
    }
  }

  /** QEMU closed the stream. Throws VmStreamError unless the stream is complete. */
  end(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#phase === 'done') return;
    this.#failure =
      this.#phase === 'tail'
        ? fail(
            'VMSTREAM_TRUNCATED',
            'The stream ends in device state (or suppress-vmdesc is on: switch it off)',
            this.#base,
          )
        : fail('VMSTREAM_TRUNCATED', `The stream ends early, guest memory is ${this.#ramStage}`, this.#base);
    throw this.#failure;
  }

  #run(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#phase === 'ram') at = this.#takeRam(chunk, at);
      else if (this.#phase === 'bitmap') at = this.#takeBitmap(chunk, at);
      else if (this.#phase === 'tail') at = this.#takeTail(chunk, at);
      else at = this.#takeField(chunk, at);
    }
    this.#base += chunk.length;
  }

  #takeRam(chunk: Uint8Array, from: number): number {
    const at = this.#ram.consume(chunk, from, this.#base);
    if (this.#ramStage === 'absent') this.#keep(chunk.subarray(from, at));
    if (this.#ram.ended) this.#takeEos();
    return at;
  }

  #takeBitmap(chunk: Uint8Array, from: number): number {
    const at = Math.min(from + this.#bitmapBytes, chunk.length);
    this.#keep(chunk.subarray(from, at));
    this.#bitmapBytes -= at - from;
    if (this.#bitmapBytes === 0) this.#expect('footer', FOOTER_BYTES);
    return at;
  }

  #takeField(chunk: Uint8Array, from: number): number {
    this.#offset = this.#base + from - this.#field.held;
    if (this.#phase === 'done') throw fail('VMSTREAM_TRAILING', 'Bytes after the end of the stream', this.#offset);
    const at = this.#field.take(chunk, from, this.#need);
    if (at < 0) return chunk.length;
    this.#take(this.#field.bytes, this.#field.at);
    return at;
  }

  /** One whole field of `#need` bytes. */
  #take(bytes: Uint8Array, at: number): void {
    const phase = this.#phase;
    const end = at + this.#need;
    if (phase === 'element') return this.#takeElement(bytes[at]!);
    if (phase === 'commandHeader') return this.#takeCommand(readU16(bytes, at), readU16(bytes, at + 2));
    if (phase === 'commandPayload') {
      this.#expect('element', 1);
      return this.#sink.command(this.#command, bytes.subarray(at, end));
    }
    if (phase === 'ramSectionId') return this.#takeRamSectionId(readU32(bytes, at));
    if (this.#ramStage === 'absent' || this.#ramStage === 'listed') this.#keep(bytes.subarray(at, end));
    if (phase === 'header') return this.#takeHeader(bytes, at);
    if (phase === 'configuration') {
      this.#configuration.take(bytes, at, this.#offset);
      return this.#expectConfiguration();
    }
    if (phase === 'sectionHeader') {
      this.#sectionId = readU32(bytes, at);
      return this.#expect('sectionName', bytes[at + 4]! + 8);
    }
    if (phase === 'sectionName') {
      const name = decodeLatin1(bytes, at, end - 8);
      const version = readU32(bytes, end - 4);
      if (this.#element === Element.SectionFull) return this.#takeEarlyFull(name, version);
      return this.#takeStart(name, readU32(bytes, end - 8), version);
    }
    if (phase === 'virtioMem') return this.#takeVirtioMem(readU64(bytes, at + 8), readU64(bytes, at + 16));
    return this.#takeFooter(bytes[at]!, readU32(bytes, at + 1));
  }

  #takeHeader(bytes: Uint8Array, at: number): void {
    const magic = readU32(bytes, at);
    const version = readU32(bytes, at + 4);
    if (magic !== FILE_MAGIC || version !== FILE_VERSION) {
      const text = `Not a QEMU migration stream of version ${FILE_VERSION}: magic 0x${magic.toString(16)}`;
      throw fail('VMSTREAM_NOT_A_STREAM', `${text}, version ${version}`, 0);
    }
    if (bytes[at + 8] !== Element.Configuration) throw refuseMachine('configuration section', HEADER_BYTES - 1);
    this.#expectConfiguration();
  }

  #takeElement(type: number): void {
    this.#element = type;
    const configurationOpen = this.#configurationOpen;
    this.#configurationOpen = false;
    switch (type) {
      case Element.SectionStart:
      case Element.SectionFull:
        if (this.#ramStage === 'flowing') {
          const text =
            'A device begins a section while guest memory flows, and its length is unknown: detach what is new';
          throw fail('VMSTREAM_ORDER', text, this.#offset);
        }
        this.#keepElement();
        return this.#expect('sectionHeader', SECTION_HEADER_BYTES);
      case Element.SectionPart:
      case Element.SectionEnd:
        return this.#expect('ramSectionId', 4);
      case Element.Command:
        return this.#expect('commandHeader', COMMAND_HEADER_BYTES);
      case Element.Subsection:
        if (!configurationOpen) break;
        this.#keepElement();
        this.#configuration.beginSubsection();
        return this.#expectConfiguration();
      case Element.Eof:
        throw fail('VMSTREAM_ORDER', 'The stream ends before the end of guest memory', this.#offset);
      default:
    }
    throw unknownElement(type, this.#ramStage === 'flowing' ? 'between memory sections' : 'at the start', this.#offset);
  }

  #takeCommand(number: number, length: number): void {
    this.#expect('element', 1);
    if (number === Command.OpenReturnPath && length === 0) return this.#sink.command(number, nothing);
    if (number === Command.SwitchoverStart && length === 0 && !this.#switchoverStarted) {
      this.#switchoverStarted = true;
      return this.#sink.switchoverStart();
    }
    if (number !== Command.Ping || length !== 4) throw refuseCommand(number, length, this.#offset);
    this.#command = number;
    this.#expect('commandPayload', length);
  }

  #takeStart(name: string, instance: number, version: number): void {
    if (name !== RAM_SECTION_NAME) throw refuseStart(name, this.#offset);
    if (this.#ramStage !== 'absent') throw fail('VMSTREAM_ORDER', 'The RAM section starts twice', this.#offset);
    if (instance !== 0 || version !== RAM_SECTION_VERSION || this.#sectionId === 0) {
      const text = `RAM section ${this.#sectionId}, instance ${instance}, version ${version}; known is`;
      throw fail('VMSTREAM_UNKNOWN_SECTION', `${text} instance 0, version ${RAM_SECTION_VERSION}`, this.#offset);
    }
    this.#ramSectionId = this.#sectionId;
    this.#ram.begin('START');
    this.#phase = 'ram';
  }

  #takeRamSectionId(id: number): void {
    if (id !== this.#ramSectionId || this.#ramStage === 'absent') {
      const text = `Section ${id} goes on without a start; RAM is section ${this.#ramSectionId}`;
      throw fail('VMSTREAM_UNKNOWN_SECTION', text, this.#offset);
    }
    this.#sectionId = id;
    const ends = this.#element === Element.SectionEnd;
    this.#ram.begin(ends ? 'END' : 'PART');
    this.#phase = 'ram';
    if (this.#ramStage === 'listed') {
      this.#ramStage = 'flowing';
      this.#sink.prologue(this.#prologue.take());
    }
    if (ends) this.#sink.ramEndStarted();
  }

  /** EOS of a RAM section. */
  #takeEos(): void {
    this.#expect('footer', FOOTER_BYTES);
    if (this.#element === Element.SectionPart) this.#sink.partEnd(this.#ram.pages);
    else if (this.#element === Element.SectionEnd) this.#sink.ramEnded();
    else this.#ramStage = 'listed';
  }

  #takeFooter(type: number, id: number): void {
    if (type !== Element.SectionFooter) throw refuseMachine('section footers', this.#offset);
    if (id !== this.#sectionId) {
      throw fail('VMSTREAM_FOOTER', `Footer of section ${id} ends section ${this.#sectionId}`, this.#offset);
    }
    this.#expect('element', 1);
    if (this.#element !== Element.SectionEnd) return;
    this.#ramStage = 'ended';
    this.#tail = new DeviceTail(this.#offset + FOOTER_BYTES, this.#earlyNames);
    this.#phase = 'tail';
  }

  #takeEarlyFull(name: string, version: number): void {
    const known = name === VIRTIO_MEM_NAME || name.endsWith(`/${VIRTIO_MEM_NAME}`);
    if (!known || version !== VIRTIO_MEM_VERSION) throw refuseEarlyFull(name, this.#offset);
    this.#earlyNames.push(name);
    this.#expect('virtioMem', VIRTIO_MEM_BYTES);
  }

  #takeVirtioMem(regionBytes: number, blockBytes: number): void {
    const bits = regionBytes / blockBytes;
    this.#bitmapBytes = Math.ceil(bits / 64) * 8;
    if (!(this.#bitmapBytes > 0 && this.#bitmapBytes <= PROLOGUE_BYTES_MAX)) {
      const text = `virtio-mem with a region of ${regionBytes} bytes in blocks of ${blockBytes}`;
      throw fail('VMSTREAM_LIMIT', text, this.#offset);
    }
    this.#phase = 'bitmap';
  }

  #takeTail(chunk: Uint8Array, from: number): number {
    const deviceState = this.#tail?.append(chunk.subarray(from)) ?? null;
    if (deviceState !== null) {
      this.#phase = 'done';
      this.#tail = null;
      this.#sink.deviceState(deviceState);
    }
    return chunk.length;
  }

  #keepElement(): void {
    this.#keep(Uint8Array.of(this.#element));
  }

  #keep(bytes: Uint8Array): void {
    if (this.#prologue.length + bytes.length > PROLOGUE_BYTES_MAX) {
      const text = `More than ${PROLOGUE_BYTES_MAX} bytes before guest memory`;
      throw fail('VMSTREAM_LIMIT', text, this.#offset);
    }
    this.#prologue.bytes(bytes);
  }

  #expectConfiguration(): void {
    const need = this.#configuration.need;
    if (need === 0) {
      this.#configurationOpen = true;
      this.#expect('element', 1);
    } else this.#expect('configuration', need);
  }

  #expect(phase: Phase, need: number): void {
    this.#phase = phase;
    this.#need = need;
  }
}
