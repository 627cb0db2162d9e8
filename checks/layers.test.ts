import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { test } from 'node:test';
import { layers, mayImport, packages } from './layers.ts';

const relative = /(?:\bfrom\s*|\bimport\s*\(\s*|\bimport\s+|\bnew URL\(\s*)(['"])(\.{1,2}\/[^'"]+)\1/g;
const foreign = /(?:\bfrom\s*|\bimport\s*\(\s*|\bimport\s+)(['"])((?!node:)[@a-z][^'"]*)\1/g;

const roomOf = (path: string): string => posix.normalize(path).split('/').slice(1, 3).join('/');
const isTestFile = (path: string): boolean => /\.(test|fuzz|bench)\.ts$/.test(path);

function breachesOf(file: string, text: string): string[] {
  const breaches: string[] = [];
  const from = roomOf(file);
  if (!(from in layers)) return [`${file}: room ${from} is missing from checks/layers.ts`];
  for (const match of text.matchAll(relative)) {
    const target = posix.join(posix.dirname(file), match[2] ?? '');
    if (isTestFile(file) && target.startsWith('test/')) continue;
    const to = target.startsWith('src/') ? roomOf(target) : target;
    if (!mayImport(from, to)) breaches.push(`${file}: ${from} must not import ${to}`);
  }
  for (const match of text.matchAll(foreign)) {
    const name = (match[2] ?? '')
      .split('/')
      .slice(0, match[2]?.startsWith('@') ? 2 : 1)
      .join('/');
    if (isTestFile(file) && name === 'fast-check') continue;
    if (!packages[name]?.includes(from)) breaches.push(`${file}: ${from} must not import the package ${name}`);
  }
  return breaches;
}

const files = globSync('src/**/*.{ts,tsx}');

test('every import stays within the layer table', () => {
  assert.ok(files.length > 5, 'the check must see the sources');
  assert.deepEqual(
    files.flatMap((file) => breachesOf(file, readFileSync(file, 'utf8'))),
    [],
  );
});

test('a room imports only rooms that stand above it, so there is no cycle', () => {
  const order = Object.keys(layers);
  for (const [room, imports] of Object.entries(layers)) {
    for (const other of imports) assert.ok(order.indexOf(other) < order.indexOf(room), `${room} -> ${other}`);
  }
});

test('planted breaches are found', () => {
  const planted: [string, string][] = [
    ['src/core/pages/a.ts', "import { x } from '../wire/frame.ts';"],
    ['src/core/pages/a.ts', "import type { x } from '../../io/qemu/qmp.ts';"],
    ['src/core/base/a.ts', "const x = await import('../model/vm.ts');"],
    ['src/app/cli/a.ts', "new Worker(new URL('../../io/lanes/source-lane-worker.ts', import.meta.url));"],
    ['src/io/qemu/a.ts', "import { z } from '../link/tls.ts';"],
    ['src/core/unlisted/a.ts', ''],
    ['src/core/pages/a.ts', "import fastify from 'fastify';"],
    ['src/io/lanes/a.ts', "import { z } from '@nats-io/transport-node';"],
  ];
  for (const [file, text] of planted) assert.equal(breachesOf(file, text).length, 1, `${file}: ${text}`);
});
