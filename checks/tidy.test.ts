import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { test } from 'node:test';

const files = globSync('{src,test,bench,guests,checks,scripts}/**/*.{ts,tsx}').filter(
  (f) => f !== 'checks/tidy.test.ts',
);
const textOf = new Map(files.map((file) => [file, readFileSync(file, 'utf8')]));

/** What must not be written, where, and what to write instead. */
const bans: { pattern: RegExp; where: (file: string) => boolean; instead: string }[] = [
  { pattern: /\bFIXME\b|\bTODO\b/, where: () => true, instead: 'do it, or file an issue' },
  { pattern: /\b(test|it|describe)\.only\(/, where: () => true, instead: 'run one file instead' },
  { pattern: /rejectUnauthorized/, where: () => true, instead: 'leave certificate checks on' },
  { pattern: /removeAllListeners\(/, where: () => true, instead: 'remove the listener that you added' },
  { pattern: /forEach\(async/, where: () => true, instead: 'for ... of, or Promise.all' },
  { pattern: /Date\.now\(/, where: (f) => f.startsWith('src/core/'), instead: 'take a clock as a parameter' },
  { pattern: /Math\.random\(/, where: (f) => f.startsWith('src/core/'), instead: 'take a seed as a parameter' },
  { pattern: /\bBuffer\./, where: (f) => f.startsWith('src/core/') && !f.endsWith('.test.ts'), instead: 'Uint8Array' },
];

test('nothing from the ban list is in the tree', () => {
  assert.ok(files.length > 5, 'the check must see the sources');
  const found: string[] = [];
  for (const [file, text] of textOf) {
    for (const ban of bans)
      if (ban.where(file) && ban.pattern.test(text)) found.push(`${file}: ${ban.pattern} (${ban.instead})`);
  }
  assert.deepEqual(found, []);
});

test('every source file is used by another one, or is an entry', () => {
  const entry = /(^|\/)main\.ts$|-worker\.ts$|\.test\.ts$|\.fuzz\.ts$|\.bench\.ts$|\.d\.ts$/;
  const named = new Set<string>();
  for (const [file, text] of textOf) {
    for (const match of text.matchAll(/['"](\.{1,2}\/[^'"]+\.tsx?)['"]/g)) {
      named.add(posix.join(posix.dirname(file), match[1] ?? ''));
    }
  }
  assert.deepEqual(
    files.filter((f) => f.startsWith('src/') && !entry.test(f) && !named.has(f)),
    [],
  );
});

test('file names are kebab-case nouns', () => {
  const bad = files.filter(
    (f) => /(^|\/)(utils|helpers|common|manager|misc)\.ts$/.test(f) || /[A-Z_]/.test(posix.basename(f)),
  );
  assert.deepEqual(bad, []);
});
