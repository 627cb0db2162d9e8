import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { hotFilesOf, LIST_SCRIPT, NO_FINCORE, READ_SCRIPT } from './hot-files.ts';

const listed = (text: string): string[] =>
  hotFilesOf(Buffer.from(text, 'latin1')).list.toString('latin1').split('\n').slice(0, -1);

test('files that are open come first, then those that are cached as a whole, then large ones', () => {
  const cached = ['5000 10000 /half', '4096 4000 /small', '8192 8000 /large', '6000 10000 /most'].join('\n');
  const text = `/dev/null\n/half\n/not in the cache\n\n${cached}\n8192 8000 /large\n`;
  assert.deepEqual(listed(text), ['/half', '/large', '/small', '/most']);
  const { files, cachedBytes } = hotFilesOf(Buffer.from(text));
  assert.deepEqual([files, cachedBytes], [4, 5000 + 8000 + 4000 + 6000]);
  assert.deepEqual(listed(`\n\n${cached}`), ['/large', '/small', '/most', '/half']);
});

test('names with odd bytes are kept, names with line breaks and broken lines are not', () => {
  const lines = [
    '1 1 /a\\x20b\\x5cc',
    '1 1 /\\xc3\\xa4',
    '1 1 /two\\x0alines',
    '1 1 not/absolute',
    '0 9 /cold',
    '5 0 /empty',
    '1 1',
    '12',
  ];
  assert.deepEqual(listed(`\n${lines.join('\n')}`), ['/a b\\c', '/\xc3\xa4']);
});

test('property: whatever a guest says, the list is bounded, and its lines are paths', () => {
  const line = fc.oneof(
    fc.string(),
    fc.string({ minLength: 1, maxLength: 5000 }).map((path) => `4096 4096 /${path}`),
  );
  fc.assert(
    fc.property(fc.array(line), fc.uint8Array(), (lines, noise) => {
      const { list, files } = hotFilesOf(Buffer.concat([Buffer.from(`\n${lines.join('\n')}`), noise]));
      const paths = list.toString('latin1').split('\n').slice(0, -1);
      assert.ok(list.length <= 64 * 1024);
      assert.equal(paths.length, files);
      for (const path of paths) assert.match(path, /^\/[^\0\n\r]*$/);
    }),
  );
  const many = Array.from({ length: 5000 }, (_, i) => `4096 4096 /data/of/some/program/number-${i}`).join('\n');
  assert.ok(hotFilesOf(Buffer.from(`\n${many}`)).list.length <= 64 * 1024);
});

test('a guest without fincore says so', () => {
  const { status, stdout } = spawnSync('/bin/sh', ['-c', LIST_SCRIPT], { env: { PATH: '/nowhere' } });
  assert.deepEqual([status, stdout.length], [NO_FINCORE, 0]);
});

test('reading: every file of the list, whatever its name, and nothing is waited for', () => {
  const folder = mkdtempSync(join(tmpdir(), 'hot-'));
  try {
    const names = ['plain', '-n', "with 'quotes' and \\ $HOME `id`"].map((name) => join(folder, name));
    for (const name of names) writeFileSync(name, 'content');
    // Gone, or something that reading would wait for, since it was listed.
    const others = [join(folder, 'gone'), folder];
    // In place of cat, one that writes down what it is asked for. It waits, and the shell that started it does not.
    const cat = join(folder, 'cat');
    const script = `#!/bin/sh\nsleep 0.2\nprintf '%s\\n' "$2" >> '${folder}/read'\n[ "$1" = -- ]\n`;
    writeFileSync(cat, script, { mode: 0o755 });
    // The script itself takes its list by the first cat.
    const shell = READ_SCRIPT.replace('$(cat)', '$(/bin/cat)');
    const { status } = spawnSync('/bin/sh', ['-c', `${shell}\n[ -e '${folder}/read' ] && exit 9; wait`], {
      env: { PATH: `${folder}:/usr/bin:/bin` },
      input: `${[...others, ...names].join('\n')}\n`,
    });
    assert.equal(status, 0);
    const { stdout } = spawnSync('cat', [join(folder, 'read')]);
    assert.equal(stdout.toString(), `${names.join('\n')}\n`);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
