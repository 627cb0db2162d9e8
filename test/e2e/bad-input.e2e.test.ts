/**
 * What cannot be done is refused with a message that names it, with the documented exit code, and changes nothing: the
 * guest goes on where it is, nothing of it appears at the other host.
 */
import assert from 'node:assert/strict';
import { existsSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { labSignalAgent, labStartAgent } from '../../src/app/lab/lab.ts';
import { assertNoStackTrace } from '../support/failure-scene.ts';
import type { LabGuest } from '../support/lab-guest.ts';
import { LabHosts } from '../support/lab-hosts.ts';
import type { CliFailure } from '../support/lab-hosts.ts';
import { askQemu, qemuPids, runState, secondMonitor, until } from '../support/outside-view.ts';

const lab = new LabHosts({ config: { b: { capacity: { memory: '600M', vcpus: 2 } } } });
const cliProgram = resolve(import.meta.dirname, '../../src/app/cli/main.ts');
let guest: LabGuest;

/** Runs a command that must be refused; returns all that it said to people. */
async function refused(code: number, errorCode: string, ...args: string[]): Promise<string> {
  const result = await lab.cli('a', ...args);
  assert.equal(result.code, code, result.stderr);
  assertNoStackTrace(result);
  assert.equal((result.json as CliFailure).error.code, errorCode, result.stdout);
  return result.stderr;
}

/** A wrong command line: commander complains, nothing is printed as JSON. */
async function misused(...args: string[]): Promise<string> {
  const result = await lab.cli('a', ...args);
  assert.equal(result.code, 2, result.stderr);
  assertNoStackTrace(result);
  return result.stderr;
}

async function assertUntouched(): Promise<void> {
  await guest.moreWriterLines(2);
  guest.assertSound();
  assert.equal(await runState(lab, 'a', 'g'), 'running');
  const client = lab.client('b');
  try {
    const { vms } = await client.call('listVms', {});
    assert.deepEqual(
      vms.filter(({ name }) => name === 'g'),
      [],
    );
    assert.equal((await client.call('host', {})).memoryBytes.reserved, 0);
  } finally {
    await client.close();
  }
}

/** A machine without a guest in it: enough to be refused. */
async function bareMachine(name: string, fields: object): Promise<void> {
  await lab.startSpec('a', { name, memory: '64M', accelerator: 'tcg', ...fields }, false);
}

async function remove(name: string): Promise<void> {
  await lab.ok('a', 'vm', 'stop', name, '--force');
}

describe('what cannot be done', () => {
  before(async () => {
    await lab.up();
    const writer = { set: '16M', rate: '4M' };
    guest = await lab.startGuest('a', { name: 'g', memory: '256M', writer, qemuArguments: [...secondMonitor] });
  });
  after(async () => await lab.down());

  describe('names', () => {
    test('an unknown machine, an unknown host and the host itself are refused', async () => {
      assert.match(await refused(3, 'VM_UNKNOWN', 'migrate', 'nobody', 'b'), /There is no VM "nobody" on this host/);
      assert.match(await refused(3, 'PEER_UNKNOWN', 'migrate', 'g', 'c'), /knows no host "c": it knows b/);
      assert.match(await refused(2, 'SAME_HOST', 'migrate', 'g', 'a'), /"a" is this host itself/);
      assert.match(await refused(3, 'MIGRATION_UNKNOWN', 'cancel', 'x-1'), /no migration x-1/);
      assert.match(await refused(3, 'MIGRATION_UNKNOWN', 'show', 'x-1'), /no migration x-1/);
      await assertUntouched();
    });

    test('a name that is taken at the destination is refused', async () => {
      const spec = lab.writeSpec({ name: 'twin', memory: '64M', accelerator: 'tcg' });
      await lab.ok('b', 'vm', 'start', spec);
      await lab.ok('a', 'vm', 'start', spec);
      assert.match(await refused(4, 'PREFLIGHT_REFUSED', 'migrate', 'twin', 'b'), /Host "b" has a VM "twin" already/);
      assert.deepEqual(await lab.vmStates('b'), ['twin running']);
      await lab.ok('b', 'vm', 'stop', 'twin', '--force');
      await remove('twin');
    });

    test('an agent that is not there is named', async () => {
      const result = await lab.cli('a', '--socket', '/nonexistent/agent.sock', 'migrate', 'g', 'b');
      assert.equal(result.code, 8, result.stderr);
      assert.match(result.stderr, /\/nonexistent\/agent\.sock/);
      assertNoStackTrace(result);
    });

    test('a machine that is being moved is not moved a second time, and not stopped', async () => {
      const { done } = lab.startMigrate(guest, 'a', 'b', '--max-bandwidth', '20mbit');
      const id = await until('the migration is under way', async () => await migrationUnderWay());
      const second = await refused(4, 'VM_MIGRATING', 'migrate', 'g', 'b');
      assert.ok(second.includes(`takes part in migration ${id}`), second);
      await refused(4, 'VM_MIGRATING', 'vm', 'stop', 'g', '--force');
      await lab.ok('a', 'cancel', id);
      assert.equal((await done).code, 5);
      await assertUntouched();
    });
  });

  describe('specs and options', () => {
    const specs: readonly (readonly [what: string, text: string, message: RegExp])[] = [
      ['no YAML', 'name: [g\nmemory: {', /neither YAML nor JSON/],
      ['an unknown field', 'name: x\nmemory: 64M\nmemmory: 1G\n', /memmory/],
      ['a field of the wrong type', 'name: x\nmemory: 64M\nvcpus: two\n', /vcpus/],
      ['a wrong size', 'name: x\nmemory: lots\n', /memory.*"lots" is not a size/],
      ['a wrong field inside a list', 'name: x\nmemory: 64M\ndisks: [{source: /d, format: vmdk}]\n', /disks.*format/],
      ['a missing field', 'name: x\n', /memory/],
      ['a bad name', 'name: ../x\nmemory: 64M\n', /name/],
      ['nothing', '', /spec/],
    ];
    test('a malformed spec is refused, and the field is named', async () => {
      for (const [what, text, message] of specs) {
        const file = join(lab.folder, 'bad.yaml');
        writeFileSync(file, text);
        assert.match(await refused(2, 'SPEC_INVALID', 'vm', 'start', file), message, what);
      }
      assert.match(await refused(2, 'SPEC_UNREADABLE', 'vm', 'start', '/nonexistent.yaml'), /\/nonexistent\.yaml/);
      assert.deepEqual(await lab.vmStates('a'), ['g running']);
    });

    test('a wrong option is refused, and it is named', async () => {
      const options: readonly (readonly [option: string, value: string])[] = [
        ['--downtime', 'abc'],
        ['--lanes', 'two'],
        ['--max-bandwidth', 'fast'],
        ['--strategy', 'hope'],
        ['--compress', 'zip'],
      ];
      for (const [option, value] of options) {
        const said = await misused('migrate', 'g', 'b', option, value);
        assert.ok(said.includes(option) && said.includes(value), said);
      }
      const outOfRange: readonly (readonly [option: string, value: string, field: RegExp])[] = [
        ['--lanes', '0', /lanes/],
        ['--lanes', '1000', /lanes/],
        ['--downtime', '0ms', /downtime/],
        ['--stall-timeout', '1ms', /stallTimeout/],
      ];
      for (const [option, value, field] of outOfRange) {
        assert.match(await refused(2, 'INVALID_REQUEST', 'migrate', 'g', 'b', option, value), field);
      }
      assert.match(await misused('migrate', 'g'), /missing required argument/);
      assert.match(await misused('fly', 'g'), /unknown command/);
      await assertUntouched();
    });
  });

  describe('needs of the destination', () => {
    test('too little memory and too few CPUs are refused, both at once', async () => {
      await bareMachine('big', { memory: '700M', vcpus: 3 });
      const said = await refused(4, 'PREFLIGHT_REFUSED', 'migrate', 'big', 'b');
      assert.match(said, /2 problems/);
      assert.match(said, /memory/);
      assert.match(said, /CPU/);
      assert.match(said, /the guest was not touched/);
      assert.equal((await lab.vmStates('a')).includes('big running'), true);
      await remove('big');
      await assertUntouched();
    });

    test('disks that the destination cannot reach are refused, all at once', async () => {
      const [file, exported] = ['only-a.img', 'exported.img'].map((name) => diskImage(name)) as [string, string];
      const nbd = lab.spawnAt('a', 'qemu-nbd', '-f', 'raw', '-t', '-e', '4', '-b', '127.0.0.1', '-x', 'disk', exported);
      const url = 'nbd://127.0.0.1:10809/disk';
      const spec = {
        disks: [
          { source: file, readOnly: true },
          { source: url, readOnly: true },
        ],
      };
      await until('the disk is exported', async () => {
        const { code } = await lab.spawnAt('a', 'qemu-img', 'info', '-f', 'raw', '-U', url).done;
        return code === 0;
      });
      await bareMachine('disky', spec);
      renameSync(file, `${file}.gone`);
      const said = await refused(4, 'PREFLIGHT_REFUSED', 'migrate', 'disky', 'b');
      assert.ok(said.includes(`Host "b" cannot open the disk ${file}: it is not there`), said);
      assert.match(said, /Host "b" cannot open the disk nbd:\/\/127\.0\.0\.1:10809\/disk: .*refused/i);
      assert.equal((await lab.vmStates('a')).includes('disky running'), true);
      await remove('disky');
      nbd.child.kill('SIGTERM');
      await nbd.done;
    });
  });

  describe('the QEMU of the machine', () => {
    test('one that was killed is refused as gone', async () => {
      await bareMachine('dead', {});
      const [pid] = qemuPids(lab, 'a').filter((one) => !known.includes(one));
      assert.ok(pid !== undefined);
      process.kill(pid, 'SIGKILL');
      assert.match(await refused(4, 'VM_NOT_RUNNING', 'migrate', 'dead', 'b'), /it is gone/);
      await remove('dead');
    });
    let known: number[] = [];
    before(() => (known = qemuPids(lab, 'a')));

    test('a monitor that hangs is reported, and the guest goes on when it no longer does', async () => {
      const [pid] = qemuPids(lab, 'a');
      assert.ok(pid !== undefined);
      process.kill(pid, 'SIGSTOP');
      try {
        const said = await refused(6, 'QEMU_SILENT', 'migrate', 'g', 'b');
        assert.match(said, /monitor of VM "g" does not answer.*the guest was not touched/);
      } finally {
        process.kill(pid, 'SIGCONT');
      }
      await assertUntouched();
    });

    test('a guest that is paused is refused', async () => {
      await askQemu(lab, 'a', 'g', 'stop');
      assert.match(await refused(4, 'PREFLIGHT_REFUSED', 'migrate', 'g', 'b'), /is "paused".*resume it first/);
      assert.equal(await runState(lab, 'a', 'g'), 'paused');
      await askQemu(lab, 'a', 'g', 'cont');
      await assertUntouched();
    });

    test('devices that QEMU cannot migrate are named, all at once', async () => {
      const image = diskImage('device.img');
      const nvme = ['-drive', `file=${image},if=none,id=n,format=raw,readonly=on`, '-device', 'nvme,drive=n,serial=x'];
      const shared = `memory-backend-file,id=m,size=1M,share=on,mem-path=${image}`;
      const ivshmem = ['-object', shared, '-device', 'ivshmem-plain,memdev=m,master=off'];
      await bareMachine('stuck', { qemuArguments: [...nvme, ...ivshmem] });
      const said = await refused(4, 'PREFLIGHT_REFUSED', 'migrate', 'stuck', 'b');
      assert.match(said, /QEMU refuses to migrate this guest: .*nvme/);
      assert.match(said, /QEMU refuses to migrate this guest: .*ivshmem/);
      assert.equal((await lab.vmStates('a')).includes('stuck running'), true);
      await remove('stuck');
    });

    test('a capability that was switched on by hand is named', async () => {
      const set = async (state: boolean): Promise<void> => {
        const capabilities = [{ capability: 'xbzrle', state }];
        await askQemu(lab, 'a', 'g', 'migrate-set-capabilities', { capabilities });
      };
      await set(true);
      const said = await refused(4, 'PREFLIGHT_REFUSED', 'migrate', 'g', 'b');
      assert.match(said, /"xbzrle" is on.*switch it off/);
      const capabilities = (await askQemu(lab, 'a', 'g', 'query-migrate-capabilities')) as { state: boolean }[];
      assert.deepEqual(
        capabilities.filter(({ state }) => state),
        [{ capability: 'xbzrle', state: true }],
      );
      await set(false);
      await assertUntouched();
    });

    test('guest memory that the agent may not read is reported, with what is missing', async () => {
      assert.ok(existsSync('/usr/bin/setpriv'), 'setpriv (util-linux) takes the capability from the agent');
      labSignalAgent('a', 'SIGTERM', lab.name);
      await until('the agent has ended', () => !existsSync(lab.socket('a')));
      // The QEMU of "g" keeps all capabilities; an agent with fewer than it may not look into it.
      const withoutRights = ['setpriv', '--bounding-set', '-sys_ptrace', '--inh-caps', '-sys_ptrace'];
      const config = join(lab.folder, 'a/agent.yaml');
      const agent = lab.spawnAt('a', ...withoutRights, process.execPath, cliProgram, 'agent', '--config', config);
      try {
        await until('the agent answers', async () => (await lab.cli('a', 'status')).code === 0);
        const result = await lab.cli('a', 'migrate', 'g', 'b');
        assert.match(result.stderr, /memory.*CAP_SYS_PTRACE/s);
        assertNoStackTrace(result);
        assert.equal(result.code, 4);
      } finally {
        agent.child.kill('SIGTERM');
        await agent.done;
        await labStartAgent('a', lab.name);
      }
      await assertUntouched();
    });
  });
});

/** An empty disk of 1 MiB; returns its path. */
function diskImage(name: string): string {
  const file = join(lab.folder, name);
  writeFileSync(file, '');
  truncateSync(file, 1 << 20);
  return file;
}

async function migrationUnderWay(): Promise<string | undefined> {
  const client = lab.client('a');
  try {
    const { migrations } = await client.call('listMigrations', {});
    return migrations.find(({ stage }) => stage === 'preCopy')?.id;
  } finally {
    await client.close();
  }
}
