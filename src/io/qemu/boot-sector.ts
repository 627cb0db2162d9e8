/**
 * The smallest guest: a boot sector that writes a text to QEMU's debug console (port 0xe9), enters protected mode,
 * writes one more letter and ends QEMU through isa-debug-exit (port 0xf4).
 *
 * It says that the firmware ran, that a disk was read and that both CPU modes execute; that is what fails on hosts
 * whose /dev/kvm is there but does not work.
 */
const LOAD_ADDRESS = 0x7c00;
const SECTOR_BYTES = 512;
/** SeaBIOS finds no cylinders on a smaller disk and does not read it. */
const DISK_BYTES = 1024 * 1024;
const EXIT_VALUE = 0x10;
const REAL_MODE_TEXT = 'vmferry runs ';
const GDT_AT = 0x40;
const GDT_POINTER_AT = 0x58;
const TEXT_AT = 0x60;

/** What the debug console shows when everything ran. */
export const BOOT_SECTOR_TEXT = `${REAL_MODE_TEXT}P`;
/** isa-debug-exit ends QEMU with (value << 1) | 1. */
export const EXIT_CODE_OF_SUCCESS = (EXIT_VALUE << 1) | 1;

/** A disk image whose first sector is the guest. */
export function bootDisk(): Buffer {
  const sector = Buffer.alloc(DISK_BYTES);
  const low = (at: number): number[] => [(LOAD_ADDRESS + at) & 0xff, (LOAD_ADDRESS + at) >> 8];
  const realMode = [
    [0xfa, 0xfc, 0x31, 0xc0, 0x8e, 0xd8], // cli; cld; xor ax, ax; mov ds, ax
    [0xbe, ...low(TEXT_AT)], // mov si, text
    [0xac, 0x84, 0xc0, 0x74, 0x04], // next: lodsb; test al, al; jz protect
    [0xe6, 0xe9, 0xeb, 0xf7], // out 0xe9, al; jmp next
    [0x0f, 0x01, 0x16, ...low(GDT_POINTER_AT)], // protect: lgdt [pointer]
    [0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0], // mov eax, cr0; or al, 1; mov cr0, eax
  ].flat();
  const entry = realMode.length + 5;
  const farJump = [0xea, ...low(entry), 0x08, 0x00]; // jmp 8:entry
  const protectedMode = [
    [0xb0, 'P'.charCodeAt(0), 0xe6, 0xe9], // mov al, 'P'; out 0xe9, al
    [0xb0, EXIT_VALUE, 0xe6, 0xf4], // mov al, EXIT_VALUE; out 0xf4, al
    [0xf4, 0xeb, 0xfd], // hlt; jmp to it
  ].flat();
  sector.set([...realMode, ...farJump, ...protectedMode], 0);
  // Two descriptors: none, and flat 32-bit code from 0 to 4 GiB.
  sector.set([0xff, 0xff, 0x00, 0x00, 0x00, 0x9a, 0xcf, 0x00], GDT_AT + 8);
  sector.set([0x0f, 0x00, ...low(GDT_AT), 0x00, 0x00], GDT_POINTER_AT);
  sector.write(REAL_MODE_TEXT, TEXT_AT, 'latin1');
  sector.set([0x55, 0xaa], SECTOR_BYTES - 2);
  return sector;
}
