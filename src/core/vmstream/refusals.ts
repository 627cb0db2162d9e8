/** Every reason to refuse a stream, in the words of the person who has to do something about it. */
import { Command, RamFlag } from './constants.ts';
import { VmStreamError, type VmStreamErrorCode } from './errors.ts';

const hex = (value: number): string => `0x${value.toString(16)}`;
const printable = (name: string): string => name.replace(/[^\x20-\x7e]/g, '?');

export function fail(code: VmStreamErrorCode, message: string, offset: number): VmStreamError {
  return new VmStreamError(code, `${message} (offset ${offset} of the migration stream)`, { offset });
}

const switchOff = (capability: string): string => `Migration capability ${capability} is on: switch it off`;

/** RAM record flags whose meaning is known and that need a capability. */
const flagCapabilities: readonly (readonly [number, string])[] = [
  [RamFlag.Xbzrle, 'xbzrle'],
  [RamFlag.CompressPage, 'compress'],
  [RamFlag.MultifdFlush, 'multifd'],
  [RamFlag.Hook, 'rdma-pin-all (or an rdma: address)'],
];

/** A RAM record whose flags cannot be served. */
export function refuseFlags(flags: number, where: string, offset: number): VmStreamError {
  for (const [flag, capability] of flagCapabilities) {
    if ((flags & flag) !== 0) {
      const text = `${switchOff(capability)}; RAM record with flag ${hex(flag)} in ${where}`;
      return fail('VMSTREAM_CAPABILITY', text, offset);
    }
  }
  return fail('VMSTREAM_UNKNOWN_FLAG', `RAM record with unknown flags ${hex(flags)} in ${where}`, offset);
}

/** A START of anything but RAM: it would send its own stream while the guest runs. */
export function refuseStart(name: string, offset: number): VmStreamError {
  const device = printable(name);
  if (name.endsWith('/vfio')) {
    const text = `Device ${device.slice(0, -5)} keeps its own migration stream (VFIO) and cannot be moved: detach it`;
    return fail('VMSTREAM_DEVICE', text, offset);
  }
  if (name === 'dirty-bitmap') return fail('VMSTREAM_CAPABILITY', switchOff('dirty-bitmaps'), offset);
  if (name === 'block') {
    const text = `${switchOff('block')}, and use storage that both hosts reach`;
    return fail('VMSTREAM_CAPABILITY', text, offset);
  }
  const text = `Device ${device} keeps its own migration stream, which is unknown: detach it, or move this guest offline`;
  return fail('VMSTREAM_DEVICE', text, offset);
}

/** A FULL section before RAM's END that is not virtio-mem's. */
export function refuseEarlyFull(name: string, offset: number): VmStreamError {
  const text = `Device ${printable(name)} sends its state before guest memory, in an unknown format: detach it`;
  return fail('VMSTREAM_DEVICE', text, offset);
}

const commandCapabilities: Readonly<Record<number, string>> = {
  [Command.PostcopyAdvise]: 'postcopy-ram',
  [Command.PostcopyListen]: 'postcopy-ram',
  [Command.PostcopyRun]: 'postcopy-ram',
  [Command.PostcopyRamDiscard]: 'postcopy-ram',
  [Command.Packaged]: 'postcopy-ram',
  [Command.PostcopyResume]: 'postcopy-ram',
  [Command.RecvBitmap]: 'postcopy-ram',
  [Command.EnableColo]: 'x-colo',
};

export function refuseCommand(number: number, length: number, offset: number): VmStreamError {
  const capability = commandCapabilities[number];
  if (capability !== undefined) return fail('VMSTREAM_CAPABILITY', switchOff(capability), offset);
  const text = `Command ${number} with ${length} bytes is unknown: this QEMU is newer than vmferry knows`;
  return fail('VMSTREAM_UNKNOWN_COMMAND', text, offset);
}

/** A capability that the configuration section lists. */
export function refuseCapability(name: string, offset: number): VmStreamError {
  return fail('VMSTREAM_CAPABILITY', switchOff(printable(name)), offset);
}

export function refuseMachine(what: string, offset: number): VmStreamError {
  const text = `The stream has no ${what}: machine types up to 2.3, or their properties, cannot be moved`;
  return fail('VMSTREAM_MACHINE_TOO_OLD', text, offset);
}

export function unknownElement(type: number, where: string, offset: number): VmStreamError {
  return fail('VMSTREAM_UNKNOWN_ELEMENT', `Element ${hex(type)} ${where} is unknown`, offset);
}

export function unknownBlock(name: string, offset: number): VmStreamError {
  return fail('VMSTREAM_UNKNOWN_BLOCK', `RAM block "${printable(name)}" is not in the list at the start`, offset);
}
