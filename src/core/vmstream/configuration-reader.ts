/**
 * The configuration section and its subsections, field by field.
 *
 *     be32 length, machine type, then any number of: u8 05, u8 n, name, be32 version, payload
 *
 * The only capabilities that QEMU lists here change the stream's format (x-ignore-shared, mapped-ram): refused.
 */
import { readU32 } from '../bytes/big-endian.ts';
import { decodeLatin1 } from '../bytes/latin1.ts';
import { TARGET_PAGE_BITS } from './constants.ts';
import { MACHINE_TYPE_BYTES_MAX } from './limits.ts';
import { fail, refuseCapability } from './refusals.ts';

type Step =
  | 'machineLength'
  | 'machine'
  | 'nameLength'
  | 'name'
  | 'pageBits'
  | 'capabilityCount'
  | 'capabilityLength'
  | 'capability'
  | 'uuid';

const UUID_BYTES = 16;

export class ConfigurationReader {
  readonly #onMachineType: (machineType: string) => void;
  #step: Step = 'machineLength';
  #need = 4;

  constructor(onMachineType: (machineType: string) => void) {
    this.#onMachineType = onMachineType;
  }

  /** Bytes of the next field; 0 when the configuration, or the subsection begun last, is complete. */
  get need(): number {
    return this.#need;
  }

  beginSubsection(): void {
    this.#expect('nameLength', 1);
  }

  /** One field of `need` bytes; `offset` is its position in the stream. Throws VmStreamError. */
  take(bytes: Uint8Array, at: number, offset: number): void {
    const need = this.#need;
    switch (this.#step) {
      case 'machineLength':
        return this.#takeMachineLength(readU32(bytes, at), offset);
      case 'machine':
        this.#need = 0;
        return this.#onMachineType(decodeLatin1(bytes, at, at + need));
      case 'nameLength':
        return this.#expect('name', bytes[at]! + 4);
      case 'name':
        return this.#takeName(decodeLatin1(bytes, at, at + need - 4), offset);
      case 'pageBits':
        return this.#takePageBits(readU32(bytes, at), offset);
      case 'capabilityCount':
        return readU32(bytes, at) === 0 ? this.#expect('uuid', 0) : this.#expect('capabilityLength', 1);
      case 'capabilityLength':
        if (bytes[at] === 0) throw refuseCapability('without a name', offset);
        return this.#expect('capability', bytes[at]!);
      case 'capability':
        throw refuseCapability(decodeLatin1(bytes, at, at + need), offset);
      case 'uuid':
        this.#need = 0;
    }
  }

  #takeMachineLength(length: number, offset: number): void {
    if (length > 0 && length <= MACHINE_TYPE_BYTES_MAX) return this.#expect('machine', length);
    const text = `A machine type name of ${length} bytes; 1 to ${MACHINE_TYPE_BYTES_MAX} are possible`;
    throw fail('VMSTREAM_LIMIT', text, offset);
  }

  #takeName(name: string, offset: number): void {
    if (name === 'configuration/target-page-bits') return this.#expect('pageBits', 4);
    if (name === 'configuration/capabilities') return this.#expect('capabilityCount', 4);
    if (name === 'configuration/uuid') return this.#expect('uuid', UUID_BYTES);
    throw fail('VMSTREAM_UNKNOWN_SECTION', `Configuration subsection "${name}" is unknown`, offset);
  }

  #takePageBits(bits: number, offset: number): void {
    if (bits !== TARGET_PAGE_BITS) {
      const text = `Guest pages of 2^${bits} bytes; only 2^${TARGET_PAGE_BITS} can be moved`;
      throw fail('VMSTREAM_DEVICE', text, offset);
    }
    this.#need = 0;
  }

  #expect(step: Step, need: number): void {
    this.#step = step;
    this.#need = need;
  }
}
