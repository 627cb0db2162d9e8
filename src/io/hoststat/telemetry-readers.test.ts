import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { capOf, capOfGroup, groupCpuMs, parseCpuMax, parseUsageMs } from './cpu-cap.ts';
import { isDisk, parseDiskDevices } from './disk-stat.ts';
import { leavesHost, networkDevices, parseNetworkDevices } from './network-stat.ts';
import { parseDiskBytes, parseResidentParts, parseThreadCpuMs, residentParts, threadCpuMs } from './process-stat.ts';

function folderWith(t: { after(run: () => void): void }, files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'vmferry-stat-'));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(folder, path, '..'), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return folder;
}

test('bytes of network devices are read whatever the names, and with the number against the colon', () => {
  const text =
    'Inter-|   Receive                                                |  Transmit\n' +
    ' face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n' +
    '    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0\n' +
    'eth0.5:1234567890123 5 0 0 0 0 0 0 42 6 0 0 0 0 0 0\n';
  assert.deepEqual(
    [...parseNetworkDevices(text)],
    [
      ['lo', { received: 100, sent: 100 }],
      ['eth0.5', { received: 1234567890123, sent: 42 }],
    ],
  );
  assert.deepEqual([...parseNetworkDevices('nonsense: a b\nx: 1 2\n')], []);
  assert.ok(networkDevices().has('lo'));
});

test('what leaves the host is counted once: no loopback, taps, bridges, or devices upon others', (t) => {
  const folder = folderWith(t, {
    'eth0/address': '',
    'tap0/tun_flags': '',
    'br0/bridge/stp_state': '',
    'vlan5/lower_eth0': '',
  });
  assert.deepEqual(
    ['lo', 'eth0', 'tap0', 'br0', 'vlan5', 'gone'].filter((name) => leavesHost(name, folder)),
    ['eth0', 'gone'],
  );
});

test('disks are counted in sectors of 512 bytes, partitions and loops are not disks', (t) => {
  const text = '   8       0 sda 10 0 16 5 20 0 32 6 0 1 2\n   7       0 loop0 1 0 2 0 0 0 0 0 0 0 0\nbroken\n';
  assert.deepEqual(parseDiskDevices(text).get('sda'), { read: 8192, written: 16384 });
  assert.equal(parseDiskDevices(text).size, 2);
  const folder = folderWith(t, { 'sda/device': '', 'loop0/size': '' });
  assert.deepEqual(
    ['sda', 'loop0', 'sda1'].filter((name) => isDisk(name, folder)),
    ['sda'],
  );
});

test('a process: time of a thread, parts of its memory, bytes to disks', () => {
  assert.equal(parseThreadCpuMs('1500000000 20 3\n'), 1500);
  assert.equal(parseThreadCpuMs(''), null);
  const status =
    'VmRSS:\t  30 kB\nRssAnon:\t      10 kB\nRssFile:\t       8 kB\nRssShmem:\t      12 kB\nVmData:\t 1 kB\n';
  assert.deepEqual(parseResidentParts(status), { anonBytes: 10240, fileBytes: 8192, sharedBytes: 12288 });
  assert.equal(parseResidentParts('Name:\tkthread\n'), null);
  assert.deepEqual(parseDiskBytes('rchar: 9\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 1\n'), {
    read: 4096,
    written: 8192,
  });
  assert.equal(parseDiskBytes(''), null);
  assert.ok((threadCpuMs(process.pid, process.pid) ?? 0) > 0 && (residentParts(process.pid)?.anonBytes ?? 0) > 0);
  assert.equal(threadCpuMs(process.pid, 1), null);
});

test('the tightest quota of the groups above a process counts', (t) => {
  assert.deepEqual(
    ['150000 100000\n', 'max 100000', '-1 100000', '1 0', ''].map((text) => parseCpuMax(text)),
    [1.5, null, null, null, null],
  );
  assert.equal(parseUsageMs('usage_usec 2500\nuser_usec 1\n'), 2.5);
  assert.equal(capOf(0, { version: 2, root: '/nonexistent' }), null, 'a process that is gone has no cap');
  assert.equal(capOf('self', null), null);
  const groups = folderWith(t, {
    'a/cpu.max': '150000 100000\n',
    'a/b/cpu.max': 'max 100000\n',
    'a/b/c/cpu.max': '2 1',
  });
  const inGroups = { version: 2, root: groups } as const;
  assert.deepEqual(capOfGroup('/a/b/c', inGroups), { cores: 1.5, folder: join(groups, 'a') });
  assert.equal(capOfGroup('/other', inGroups), null);
  const old = folderWith(t, { 'x/cpu.cfs_quota_us': '20000\n', 'x/cpu.cfs_period_us': '100000\n' });
  assert.equal(capOfGroup('/x', { version: 1, root: old })?.cores, 0.2);
  const root = folderWith(t, { 'a/cpu.stat': 'usage_usec 7000\n', 'cpuacct/b/cpuacct.usage': '9000000\n' });
  assert.equal(groupCpuMs({ version: 2, root }, join(root, 'a')), 7);
  assert.equal(groupCpuMs({ version: 1, root: join(root, 'cpu') }, join(root, 'cpu', 'b')), 9);
  assert.equal(groupCpuMs({ version: 1, root }, join(root, 'a')), null);
});
