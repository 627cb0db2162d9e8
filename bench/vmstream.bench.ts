/**
 * How fast the migration stream is read: bytes of stream per second and core. Budget: 1 GB/s for data pages in chunks of
 * 64 KiB to 1 MiB, so that QEMU, holding its big lock while it writes, never waits for us.
 */
import { ByteWriter } from '../src/core/bytes/byte-writer.ts';
import { PageKind, RamFlag, TARGET_PAGE_BYTES } from '../src/core/vmstream/constants.ts';
import { VmStreamReader } from '../src/core/vmstream/stream-reader.ts';

const PAGES_FULL = 65_536; // 256 MiB of guest RAM, beyond any cache
const SECTION_PAGES = 2048;
const ROUNDS = 8;
const KIB = 1024;

/** File header, configuration and block list for one block. */
function prologue(pages: number): Uint8Array {
  const writer = new ByteWriter().u32(0x5145564d).u32(3).u8(7).u32(10).latin1('pc-q35-7.2');
  writer
    .u8(1)
    .u32(2)
    .u8(3)
    .latin1('ram')
    .u32(0)
    .u32(4)
    .u64(pages * TARGET_PAGE_BYTES + RamFlag.MemSize);
  writer
    .u8(6)
    .latin1('pc.ram')
    .u64(pages * TARGET_PAGE_BYTES);
  return writer.u64(RamFlag.Eos).u8(0x7e).u32(2).take();
}

/** One sweep over all pages; every `zeroEvery`th is zero (0 = none, 1 = all). */
function sweep(pages: number, zeroEvery: number): Uint8Array {
  const content = new Uint8Array(TARGET_PAGE_BYTES).fill(0x28);
  const writer = new ByteWriter(Number.MAX_SAFE_INTEGER, pages * (TARGET_PAGE_BYTES + 16));
  for (let page = 0; page < pages; page++) {
    const first = page % SECTION_PAGES === 0;
    if (first && page > 0) writer.u64(RamFlag.Eos).u8(0x7e).u32(2);
    if (first) writer.u8(2).u32(2);
    const zero = zeroEvery > 0 && page % zeroEvery === 0;
    const flags = (zero ? RamFlag.Zero : RamFlag.Page) + (page === 0 ? 0 : RamFlag.Continue);
    writer.u64(page * TARGET_PAGE_BYTES + flags);
    if (page === 0) writer.u8(6).latin1('pc.ram');
    if (zero) writer.u8(0);
    else writer.bytes(content);
  }
  return writer.u64(RamFlag.Eos).u8(0x7e).u32(2).view();
}

/** Scale 1 reads sweeps of 256 MiB eight times; the test suite runs a small fraction of it. */
export function run(scale: number): void {
  const pages = Math.max(256, Math.round(PAGES_FULL * scale));
  const data = sweep(pages, 0);
  measure('data pages, 64 KiB chunks', pages, data, { chunkBytes: 64 * KIB, captured: false });
  measure('data pages, 1 MiB chunks', pages, data, { chunkBytes: 1024 * KIB, captured: false });
  measure('data pages captured, 256 KiB chunks', pages, data, { chunkBytes: 256 * KIB, captured: true });
  measure('half zero, 64 KiB chunks', pages, sweep(pages, 2), { chunkBytes: 64 * KIB, captured: false });
  measure('all zero, 64 KiB chunks', pages, sweep(pages, 1), { chunkBytes: 64 * KIB, captured: false });
}

type How = { readonly chunkBytes: number; readonly captured: boolean };

function measure(what: string, pages: number, stream: Uint8Array, { chunkBytes, captured }: How): void {
  let checksum = 0;
  let named = 0;
  const reader: VmStreamReader = new VmStreamReader({
    configuration: () => undefined,
    blocks: () => reader.setCapture(0, captured),
    prologue: (bytes) => (checksum += bytes.length),
    command: () => undefined,
    page: (_block, page, kind) => {
      checksum += page + (kind === PageKind.Zero ? 1 : 0);
      named++;
    },
    payload: (_block, _page, bytes) => (checksum += bytes[bytes.length - 1]!),
    partEnd: (count) => (checksum += count),
    switchoverStart: () => undefined,
    ramEndStarted: () => undefined,
    ramEnded: () => undefined,
    deviceState: () => undefined,
  });
  reader.push(prologue(pages));
  const startMs = performance.now();
  for (let round = 0; round < ROUNDS; round++) {
    for (let at = 0; at < stream.length; at += chunkBytes) reader.push(stream.subarray(at, at + chunkBytes));
  }
  const seconds = (performance.now() - startMs) / 1000;
  const megabytes = (stream.length * ROUNDS) / 1e6;
  const rates = `${(megabytes / seconds).toFixed(0)} MB/s, ${((seconds * 1e9) / named).toFixed(1)} ns/page`;
  console.log(`vmstream  ${what}: ${rates}, checksum ${checksum}`);
}

if (import.meta.main) run(1);
