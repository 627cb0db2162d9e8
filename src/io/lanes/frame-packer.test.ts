import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { zstdDecompressSync } from 'node:zlib';
import { compressionLevels } from '../../core/compress/levels.ts';
import { FramePacker } from './frame-packer.ts';

const BYTES = 1 << 20;
const common = { lanes: 1, maxBandwidthBytesPerSecond: null };

/** Sentences of a small vocabulary with a number in each, as logs have them. */
function text(): Buffer {
  const words = Array.from({ length: 300 }, (_, i) => `word${i * 7919}`);
  let out = '';
  for (let i = 0; out.length < BYTES; i++) out += `${words[(i * 7) % 300]} ${words[(i * i) % 300]} ${i}\n`;
  return Buffer.from(out.slice(0, BYTES));
}

test('random content is left as it is, and found at a fraction of the price', () => {
  const packer = new FramePacker({ compress: 'lz', ...common });
  const noise = randomBytes(BYTES);
  const copy = Buffer.from(noise);
  const plain = text();
  const timeOf = (content: Buffer): number => {
    let best = Infinity;
    for (let i = 0; i < 10; i++) {
      const buffer = Buffer.from(content);
      const start = performance.now();
      packer.pack(buffer, 0, BYTES);
      best = Math.min(best, performance.now() - start);
    }
    return best;
  };
  assert.equal(packer.pack(noise, 0, BYTES), 0);
  assert.ok(noise.equals(copy));
  assert.ok(timeOf(noise) < timeOf(plain) / 2, 'compressing it to find out would take as long');
});

test('a batch with some text among random pages is compressed', () => {
  const mixed = Buffer.concat([randomBytes(BYTES / 2), text().subarray(0, BYTES / 4), randomBytes(BYTES / 4)]);
  const length = new FramePacker({ compress: 'lz', ...common }).pack(mixed, 0, BYTES);
  assert.ok(length > BYTES * 0.7 && length < BYTES * 0.9, `${length} bytes`);
});

test('every level gives back what it was given, and one harder than LZ is smaller', () => {
  const original = text();
  const packer = new FramePacker({ compress: 'adaptive', ...common });
  const { control } = packer;
  assert.ok(control !== null);
  const sizes = compressionLevels.map((_, level) => {
    Object.defineProperty(control, 'level', { value: level, configurable: true });
    const buffer = Buffer.from(original);
    const length = packer.pack(buffer, 0, BYTES);
    if (length > 0) assert.ok(zstdDecompressSync(buffer.subarray(0, length)).equals(original));
    return length === 0 ? BYTES : length;
  });
  assert.equal(sizes[0], BYTES, 'the lightest level stores');
  assert.ok(sizes.slice(2).every((each) => each < sizes[1]!) && sizes[1]! < BYTES / 2, sizes.join());
});

test('nothing is compressed when nothing is to be', () => {
  assert.equal(new FramePacker({ compress: 'none', ...common }).pack(text(), 0, BYTES), 0);
});
