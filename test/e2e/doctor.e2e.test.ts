/** `vmferry doctor` tries out what a host needs, and says what a lack costs. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { qemuBinaries } from '../support/lab-hosts.ts';

type Finding = { what: string; verdict: 'ok' | 'reduced' | 'missing'; found: string; cost: string | null };
type Said = { readonly code: number; readonly usable: boolean; readonly findings: readonly Finding[] };

const program = resolve(import.meta.dirname, '../../src/app/cli/main.ts');
/** What the examination runs beside `ss`. */
const tools = ['sleep', 'unshare', 'true', 'ip', 'tc', 'timedatectl'];
let folder: string;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'vmferry-doctor-'));
  for (const tool of tools) symlinkSync(toolPath(tool), join(folder, tool));
});

after(() => rmSync(folder, { recursive: true, force: true }));

/** A link to nothing is a tool that is not there. */
function toolPath(tool: string): string {
  return ['ip', 'tc'].includes(tool) ? `/usr/sbin/${tool}` : `/usr/bin/${tool}`;
}

async function doctor(path: string | undefined, qemu: string): Promise<Said> {
  const argv = ['--disable-warning=ExperimentalWarning', program, 'doctor', '--json', '--qemu', qemu];
  const env = { ...process.env, ...(path !== undefined && { PATH: path }) };
  return await new Promise((done, failed) => {
    execFile(process.execPath, [...argv, '--state-folder', folder], { env }, (error, stdout, stderr) => {
      if (stderr !== '') return failed(new Error(stderr));
      const code = error === null ? 0 : Number(error.code);
      done({ code, ...(JSON.parse(stdout) as Omit<Said, 'code'>) });
    });
  });
}

function findingOf({ findings }: Said, what: string): Finding {
  const finding = findings.find((each) => each.what === what);
  assert.ok(finding !== undefined, `nothing is said of ${what}: ${findings.map((each) => each.what).join(', ')}`);
  return finding;
}

test('a host of the tests can send and receive guests, and every lack has its cost', async () => {
  const said = await doctor(undefined, qemuBinaries['10']);
  assert.equal(said.code, 0);
  assert.equal(said.usable, true);
  for (const what of ['QEMU', 'guest memory', 'link rates', 'network namespaces']) {
    assert.equal(findingOf(said, what).verdict, 'ok', findingOf(said, what).found);
  }
  for (const { what, verdict, cost } of said.findings) assert.equal(verdict === 'ok', cost === null, what);
});

test('without ss links take longer to be known; without QEMU there is no host', async () => {
  const said = await doctor(folder, join(folder, 'qemu-system-none'));
  assert.equal(said.code, 4);
  assert.equal(said.usable, false);
  assert.equal(findingOf(said, 'QEMU').verdict, 'missing');
  const { verdict, cost } = findingOf(said, 'link rates');
  assert.equal(verdict, 'reduced');
  assert.match(cost ?? '', /iproute2/);
});
