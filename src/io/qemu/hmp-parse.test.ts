import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GpaMap, blockOfRegion, gpaWindows } from './gpa-map.ts';
import { parseGpa2Hva, parseRamBlocks, parseSystemFlatView } from './hmp-parse.ts';

/** QEMU 7.2.22, -M q35 -m 3G -device virtio-net-pci. */
const ramBlocks72 = `              Block Name    PSize              Offset               Used              Total
                  pc.ram    4 KiB  0x0000000000000000 0x00000000c0000000 0x00000000c0000000
    /rom@etc/acpi/tables    4 KiB  0x00000000c00c0000 0x0000000000020000 0x0000000000200000
                 pc.bios    4 KiB  0x00000000c0000000 0x0000000000040000 0x0000000000040000
0000:00:01.0/virtio-net-pci.rom    4 KiB  0x00000000c0080000 0x0000000000040000 0x0000000000040000
                  pc.rom    4 KiB  0x00000000c0040000 0x0000000000020000 0x0000000000020000
   /rom@etc/table-loader    4 KiB  0x00000000c02c0000 0x0000000000001000 0x0000000000010000
      /rom@etc/acpi/rsdp    4 KiB  0x00000000c0300000 0x0000000000001000 0x0000000000001000
`;

/** QEMU 10.0.2, the same with a memory backend that no device uses. */
const ramBlocks10 = `              Block Name    PSize              Offset               Used              Total                HVA  RO
                  pc.ram    4 KiB  0x0000000010000000 0x00000000c0000000 0x00000000c0000000 0x00007f26dfe00000  rw
                            4 KiB  0x0000000000000000 0x0000000010000000 0x0000000010000000 0x00007f27a7fff000  rw
    /rom@etc/acpi/tables    4 KiB  0x00000000d00c0000 0x0000000000020000 0x0000000000200000 0x00007f27fe000000  ro
                 pc.bios    4 KiB  0x00000000d0000000 0x0000000000040000 0x0000000000040000 0x00007f27fe800000  ro
0000:00:01.0/virtio-net-pci.rom    4 KiB  0x00000000d0080000 0x0000000000040000 0x0000000000040000 0x00007f27fe400000  ro
                  pc.rom    4 KiB  0x00000000d0040000 0x0000000000020000 0x0000000000020000 0x00007f27fe600000  ro
`;

/** Both versions print the same flat view for q35 with 3 GiB. */
const flatView = `FlatView #0
 AS "memory", root: system
 AS "cpu-memory-0", root: system
 Root memory region: system
  0000000000000000-00000000000bffff (prio 0, ram): pc.ram
  00000000000c0000-00000000000dffff (prio 1, rom): pc.rom
  00000000000e0000-00000000000fffff (prio 0, rom): pc.bios @0000000000020000
  0000000000100000-000000007fffffff (prio 0, ram): pc.ram @0000000000100000
  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic
  00000000fed00000-00000000fed003ff (prio 0, i/o): hpet
  00000000fee00000-00000000feefffff (prio 4096, i/o): apic-msi
  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios
  0000000100000000-000000013fffffff (prio 0, ram): pc.ram @0000000080000000

FlatView #1
 AS "mch", root: bus master container
 Root memory region: (none)
  No rendered FlatView

FlatView #2
 AS "I/O", root: io
 Root memory region: io
  0000000000000000-0000000000000007 (prio 0, i/o): dma-chan
  0000000000000008-000000000000000f (prio 0, ram): not-in-system
`;

const GIB = 1024 ** 3;

test('RAM blocks of QEMU 7.2 come without addresses', () => {
  const blocks = parseRamBlocks(ramBlocks72);
  assert.equal(blocks.length, 7);
  assert.deepEqual(blocks[0], { name: 'pc.ram', pageBytes: 4096, usedBytes: 3 * GIB, totalBytes: 3 * GIB, hva: null });
  assert.equal(blocks[1]?.usedBytes, 0x20000);
  assert.equal(blocks[1]?.totalBytes, 0x200000);
  assert.equal(blocks[3]?.name, '0000:00:01.0/virtio-net-pci.rom');
});

test('RAM blocks of QEMU 10 come with addresses, and an unused backend is left out', () => {
  const blocks = parseRamBlocks(ramBlocks10);
  assert.deepEqual(
    blocks.map(({ name }) => name),
    ['pc.ram', '/rom@etc/acpi/tables', 'pc.bios', '0000:00:01.0/virtio-net-pci.rom', 'pc.rom'],
  );
  assert.equal(blocks[0]?.hva, 0x7f26dfe00000);
});

test('a block on huge pages shows its page size', () => {
  const line = '  m0    2 MiB  0x0000000000000000 0x0000000010000000 0x0000000010000000\n';
  assert.equal(parseRamBlocks(line)[0]?.pageBytes, 2 * 1024 ** 2);
});

test('the flat view of the system gives windows with their offsets, and only of the system', () => {
  const ranges = parseSystemFlatView(flatView);
  assert.equal(ranges.length, 6);
  assert.deepEqual(ranges[5], { gpa: 4 * GIB, bytes: GIB, region: 'pc.ram', offset: 2 * GIB, readOnly: false });
  assert.deepEqual(ranges[2], { gpa: 0xe0000, bytes: 0x20000, region: 'pc.bios', offset: 0x20000, readOnly: true });
});

test('the mark that QEMU sets behind ranges that KVM maps is not part of the name', () => {
  const text = `FlatView #0
 AS "memory", root: system
  0000000000000000-000000000009ffff (prio 0, ram): pc.ram KVM
  0000000000100000-000000007fffffff (prio 0, ram): pc.ram @0000000000100000 KVM
`;
  assert.deepEqual(
    parseSystemFlatView(text).map(({ region, offset }) => [region, offset]),
    [
      ['pc.ram', 0],
      ['pc.ram', 0x100000],
    ],
  );
});

test('gpa2hva answers with region and address, or says that there is no RAM', () => {
  assert.deepEqual(parseGpa2Hva('Host virtual address for 0xfffc0000 (pc.bios) is 0x7f2021800000\n'), {
    region: 'pc.bios',
    hva: 0x7f2021800000,
  });
  assert.equal(parseGpa2Hva('Memory at address 0xfed00000 is not RAM\n'), null);
  assert.equal(parseGpa2Hva('No memory is mapped at address 0xb0000000\n'), null);
});

test('a region belongs to the block with the device path in front, unless two have it', () => {
  assert.equal(blockOfRegion('vga.vram', ['pc.ram', '0000:00:01.0/vga.vram']), '0000:00:01.0/vga.vram');
  assert.equal(blockOfRegion('vga.vram', ['0000:00:02.0/vga.vram', '0000:00:01.0/vga.vram']), null);
  assert.equal(blockOfRegion('etc/acpi/tables', ['/rom@etc/acpi/tables']), null);
});

test('guest addresses are located around the hole below 4 GiB', () => {
  const map = new GpaMap(gpaWindows(parseSystemFlatView(flatView), ['pc.ram', 'pc.bios', 'pc.rom']));
  assert.equal(map.locate(0)?.block, 'pc.ram');
  assert.equal(map.locate(0xc0000)?.block, 'pc.rom');
  assert.equal(map.locate(2 * GIB - 1)?.offset, 0x100000);
  assert.equal(map.locate(2 * GIB), null);
  assert.equal(map.locate(4 * GIB + 4096)?.offset, 2 * GIB);
  assert.equal(map.locate(5 * GIB), null);
  assert.equal(new GpaMap([]).locate(0), null);
});
