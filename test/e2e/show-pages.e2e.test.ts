/** `vmferry show ID --pages`: where every page is while a guest moves by dsm with a pull phase, and what is left to say afterwards. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { MigrationReport, MigrationView, PageDirectory } from '../../src/core/model/migration.ts';
import type { HostName } from '../support/lab-hosts.ts';
import { useLab } from '../support/lab-hosts.ts';

const lab = useLab();
const PAGE_BYTES = 4096;
const MEMORY_BYTES = 256 * 2 ** 20;
const program = fileURLToPath(new URL('../../bin/vmferry', import.meta.url));
const run = promisify(execFile);

/** As a person reads it, without --json. */
async function text(host: HostName, ...args: string[]): Promise<string> {
  const env = { ...process.env, VMFERRY_SOCKET: lab.socket(host) };
  return (await run(program, args, { env })).stdout;
}

const sumOf = (directory: PageDirectory): number => Object.values(directory).reduce((sum, pages) => sum + pages, 0);

test('the page directory counts every page once, in pre-copy and in the pull phase, as text and as JSON', async (t) => {
  const guest = await lab.startGuest('a', { name: 'pages', memory: '256M', writer: { set: '48M', rate: '30M' } });
  const { child, done } = lab.startMigrate(guest, 'a', 'b', '--strategy', 'dsm', '--pull', '--max-bandwidth', '50mbit');
  let id = '';
  child.stderr?.on('data', (chunk: string) => (id ||= /"id":"([^"]+)"/.exec(chunk)?.[1] ?? ''));
  const ended = { yet: false };
  void done.then(() => (ended.yet = true));
  const views: MigrationView[] = [];
  const texts: string[] = [];
  const fromThere: MigrationView[] = [];
  while (!ended.yet) {
    await sleep(100);
    if (id === '') continue;
    const seen = await lab.ok<MigrationView | MigrationReport>('a', 'show', id, '--pages');
    if (!('directory' in seen)) break;
    views.push(seen);
    const isPulling = (seen.directory?.missing ?? 0) > 0;
    if (isPulling && fromThere.length < 3) {
      const { code, stdout } = await lab.cli('b', 'show', id, '--pages', '--json');
      // The last page may have come meanwhile: the destination then knows the guest only.
      if (code === 0) fromThere.push(JSON.parse(stdout) as MigrationView);
    }
    if (seen.directory !== null && texts.length < (isPulling ? 4 : 2))
      texts.push(await text('a', 'show', id, '--pages'));
  }
  const { report, code } = await done;
  assert.equal(code, 0);

  const directories = views.flatMap(({ directory }) => directory ?? []);
  const total = views.at(-1)?.pagesTotal ?? 0;
  t.diagnostic(`${directories.length} directories, of ${total} pages: ${JSON.stringify(directories.at(-1))}`);
  assert.ok(total >= MEMORY_BYTES / PAGE_BYTES, 'guest memory, and firmware and video memory besides');
  for (const directory of directories) assert.equal(sumOf(directory), total, JSON.stringify(directory));
  for (const state of ['withheld', 'missing', 'placed', 'zero'] as const)
    assert.ok(
      directories.some((directory) => directory[state] > 0),
      `pages were ${state} at some time`,
    );
  const before = directories.filter(({ missing }) => missing === 0);
  for (const directory of directories.slice(before.length)) {
    assert.deepEqual([directory.pending, directory.withheld, directory.unnamed], [0, 0, 0], 'behind the switchover');
  }
  const missing = directories.map((directory) => directory.missing).filter((pages) => pages > 0);
  assert.deepEqual(
    missing,
    missing.toSorted((a, b) => b - a),
    'no page becomes missing again',
  );
  assert.ok((missing[0] ?? 0) <= (report.pages.pulled ?? 0), 'not more is missing than was left');

  for (const { directory, pagesTotal, reason } of fromThere) {
    assert.ok(directory !== null, 'the destination has a directory, too');
    assert.equal(sumOf(directory), pagesTotal);
    assert.match(reason ?? '', new RegExp(`pulls ${directory.missing} of its pages from host "a"`));
  }
  assert.ok(fromThere.length > 0);

  for (const shown of texts) {
    const rows = [...shown.matchAll(/^(?:\S.*?) {2,}(a|b|nobody) +(\d+)$/gm)];
    assert.equal(rows.length, 8, shown);
    assert.equal(
      rows.reduce((sum, row) => sum + Number(row[2]), 0),
      total,
      shown,
    );
  }
  assert.match(texts.at(-1) ?? '', /missing: the guest pulls it +a +[1-9]/);

  // It has ended: the report stands for the directory, in both forms.
  const after = await lab.ok<MigrationReport>('a', 'show', id, '--pages');
  assert.deepEqual(after, report);
  assert.equal(after.pages.total, total);
  assert.match(await text('a', 'show', id, '--pages'), new RegExp(`${spaced(after.pages.pulled ?? 0)} pulled`));
  guest.assertSound();
});

function spaced(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ' ');
}
