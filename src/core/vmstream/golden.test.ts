import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { cutInto, eventsOf, type StreamEvent } from './testing.ts';

/** Recorded by scripts/record-golden.ts from guests of 16 MiB. */
const folder = new URL('../../../test/golden/', import.meta.url);
const files = globSync('*.bin.gz', { cwd: folder }).sort();

const count = (events: readonly StreamEvent[], name: string): number =>
  events.filter((event) => event[0] === name).length;

/** [name, pages] of each block. */
function blocksOf(events: readonly StreamEvent[]): [string, number][] {
  const [, ...facts] = events.find(([name]) => name === 'blocks') ?? [];
  const pairs: [string, number][] = [];
  for (let i = 0; i < facts.length; i += 2) pairs.push([String(facts[i]), Number(facts[i + 1]) / 4096]);
  return pairs;
}

test('there are recordings of both QEMU versions', () => {
  assert.ok(files.some((file) => file.startsWith('qemu-7.2')) && files.some((file) => file.startsWith('qemu-10')));
});

for (const file of files) {
  const name = basename(file, '.bin.gz');
  const stream = gunzipSync(readFileSync(new URL(file, folder)));
  const whole = eventsOf([stream], [0]);

  test(`${name}: blocks, pages and device state are found`, () => {
    const machine = whole[0]?.[1];
    const expected = name.startsWith('qemu-7.2') || name.endsWith('machine-7.2') ? 'pc-q35-7.2' : 'pc-q35-10.0';
    assert.equal(machine, expected);
    const blocks = blocksOf(whole);
    assert.equal(new Map(blocks).get('pc.ram'), 4096);
    assert.ok(blocks.some(([block]) => block === '/rom@etc/acpi/tables'));
    const named = new Set(whole.filter(([kind]) => kind === 'page').map((event) => `${event[1]}/${event[2]}`));
    const total = blocks.reduce((sum, [, pages]) => sum + pages, 0);
    // virtio-mem has nothing plugged: QEMU leaves its block out.
    const unplugged = name.endsWith('virtio-mem') ? 256 * 256 : 0;
    assert.equal(named.size, total - unplugged);
    const told = whole.filter(([kind]) => kind === 'partEnd').reduce((sum, event) => sum + Number(event[1]), 0);
    const end = whole.findIndex(([kind]) => kind === 'ramEndStarted');
    assert.equal(told, count(whole.slice(0, end), 'page'));
    assert.equal(count(whole, 'switchoverStart'), expected === 'pc-q35-10.0' ? 1 : 0);
    assert.equal(count(whole, 'command') > 0, name !== 'qemu-7.2-stopped' && name !== 'qemu-10-stopped');
    assert.equal(whole.at(-1)?.[0], 'deviceState');
    assert.match(String(whole.at(-1)?.[1]), /^[2-9]\d{4} bytes/);
  });

  test(`${name}: any cut gives the same events`, () => {
    const lengths = fc.array(fc.oneof(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 70_000 })), {
      minLength: 1,
    });
    const text = JSON.stringify(whole);
    fc.assert(
      fc.property(lengths, (lengths) => JSON.stringify(eventsOf(cutInto(stream, lengths), [0])) === text),
      { numRuns: 8 },
    );
  });
}
