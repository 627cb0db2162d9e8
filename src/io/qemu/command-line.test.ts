import assert from 'node:assert/strict';
import { test } from 'node:test';
import { vmSpecSchema, type VmSpec } from '../../core/model/vm.ts';
import { buildCommandLine, escapeCommas, macOf, tapNameOf } from './command-line.ts';

const host = { binary: 'qemu', runFolder: '/run/vms/a', accelerator: 'tcg', incoming: false } as const;
const spec = (extra: object = {}): VmSpec => vmSpecSchema.parse({ name: 'web-1', memory: '512MiB', ...extra });

/** The values that follow each occurrence of an option. */
const valuesOf = (args: readonly string[], option: string): string[] =>
  args.flatMap((arg, i) => (arg === option ? [args[i + 1] ?? ''] : []));
const one = (args: readonly string[], option: string): string => {
  const values = valuesOf(args, option);
  assert.equal(values.length, 1, `${option} occurs once`);
  return values[0] ?? '';
};

test('a plain VM has name, machine, CPU, memory, monitor and console', () => {
  const { args, paths } = buildCommandLine(spec({ vcpus: 2 }), host);
  assert.equal(one(args, '-name'), 'guest=web-1,debug-threads=on');
  assert.equal(one(args, '-machine'), 'q35,accel=tcg');
  assert.equal(one(args, '-smp'), '2');
  assert.equal(one(args, '-m'), '536870912B');
  assert.ok(args.includes('-nodefaults'));
  assert.equal(paths.qmpSocket, '/run/vms/a/qmp.sock');
  assert.deepEqual(valuesOf(args, '-chardev'), [
    'socket,id=qmp,path=/run/vms/a/qmp.sock,server=on,wait=off',
    'file,id=console,path=/run/vms/a/console.log,append=on',
    'socket,id=qga,path=/run/vms/a/qga.sock,server=on,wait=off',
  ]);
  assert.ok(!args.includes('-S') && !args.includes('-incoming'));
});

test('the incoming side differs only by -incoming defer -S', () => {
  const source = buildCommandLine(spec(), host).args;
  const destination = buildCommandLine(spec(), { ...host, incoming: true }).args;
  assert.deepEqual(destination, [...source, '-incoming', 'defer', '-S']);
});

test('shared memory keeps the name of the main RAM block', () => {
  const { args } = buildCommandLine(spec({ sharedMemory: true }), host);
  assert.equal(one(args, '-object'), 'memory-backend-memfd,id=pc.ram,size=536870912B,share=on');
  assert.equal(one(args, '-machine'), 'q35,accel=tcg,memory-backend=pc.ram');
});

test('devices have fixed PCI places on q35 and pc, and none on microvm', () => {
  const extra = { disks: [{ source: '/a' }, { source: '/b' }], networks: [{ type: 'user' }, { type: 'user' }] };
  const places = (machine: string): string[] =>
    valuesOf(buildCommandLine(spec({ ...extra, machine }), host).args, '-device').map((device) =>
      device.split(',').slice(0, 3).join(','),
    );
  assert.deepEqual(places('pc-q35-7.2'), [
    'virtio-serial-pci,bus=pcie.0,addr=2.0',
    'virtserialport,id=qga0,bus=serial0.0',
    'virtio-net-pci,bus=pcie.0,addr=3.0',
    'virtio-net-pci,bus=pcie.0,addr=3.1',
    'virtio-blk-pci,bus=pcie.0,addr=4.0',
    'virtio-blk-pci,bus=pcie.0,addr=5.0',
  ]);
  assert.equal(places('pc')[0], 'virtio-serial-pci,bus=pci.0,addr=2.0');
  assert.equal(places('microvm')[0], 'virtio-serial-device,id=serial0');
});

test('the last of 24 disks sits in slot 1b', () => {
  const disks = Array.from({ length: 24 }, (_, i) => ({ source: `/d${i}` }));
  assert.match(valuesOf(buildCommandLine(spec({ disks }), host).args, '-device').at(-1) ?? '', /addr=1b\.0/);
});

test('disks become block nodes: file, host device, NBD, iSCSI', () => {
  const disks = [
    { source: '/vm/a.qcow2', format: 'qcow2', cache: 'unsafe' },
    { source: '/dev/vg/b', readOnly: true },
    { source: 'nbd://198.18.0.9:10810/disk/c', cache: 'writethrough' },
    { source: 'nbd://[2001:db8::1]/d' },
    { source: 'iscsi://198.18.0.9:3260/iqn.2026-11.test:e/1' },
  ];
  const { args } = buildCommandLine(spec({ disks }), host);
  const nodes = valuesOf(args, '-blockdev').map((json) => JSON.parse(json));
  assert.deepEqual(nodes[0], {
    driver: 'qcow2',
    'node-name': 'disk0',
    'read-only': false,
    cache: { direct: false, 'no-flush': true },
    discard: 'unmap',
    file: {
      driver: 'file',
      filename: '/vm/a.qcow2',
      'node-name': 'disk0-file',
      'read-only': false,
      cache: { direct: false, 'no-flush': true },
      discard: 'unmap',
    },
  });
  assert.equal(nodes[1].file.driver, 'host_device');
  assert.equal(nodes[1]['read-only'], true);
  assert.deepEqual(nodes[2].file.server, { type: 'inet', host: '198.18.0.9', port: '10810' });
  assert.equal(nodes[2].file.export, 'disk/c');
  assert.deepEqual(nodes[3].file.server, { type: 'inet', host: '2001:db8::1', port: '10809' });
  assert.equal(nodes[4].file.target, 'iqn.2026-11.test:e');
  assert.equal(nodes[4].file.lun, 1);
  const writeCaches = valuesOf(args, '-device').flatMap((d) => /write-cache=(\w+)/.exec(d)?.[1] ?? []);
  assert.deepEqual(writeCaches, ['on', 'on', 'off', 'on', 'on']);
});

test('a disk that is no path and no URL is refused', () => {
  const build = (source: string) => () => buildCommandLine(spec({ disks: [{ source }] }), host);
  for (const source of ['disk.img', 'nbd://', 'iscsi://host/target']) {
    assert.throws(build(source), { code: 'QEMU_SPEC' }, source);
  }
});

test('networks: user with forwards, tap on a bridge, none', () => {
  const networks = [
    { type: 'user', forwards: ['tcp:198.18.0.1:2222-:22'] },
    { type: 'tap', bridge: 'br0', mac: '52:54:00:12:34:56' },
    { type: 'none' },
  ];
  const { args, taps } = buildCommandLine(spec({ networks }), host);
  const ifname = tapNameOf('web-1', 1);
  assert.deepEqual(valuesOf(args, '-netdev'), [
    'user,id=net0,hostfwd=tcp:198.18.0.1:2222-:22',
    `tap,id=net1,ifname=${ifname},script=no,downscript=no`,
  ]);
  assert.deepEqual(taps, [{ ifname, bridge: 'br0' }]);
  assert.ok(ifname.length <= 15);
  assert.ok(args.some((arg) => arg.includes('mac=52:54:00:12:34:56')));
  assert.ok(args.some((arg) => arg.includes(`mac=${macOf('web-1', 0)}`)));
});

test('addresses follow from the name of the VM and the number of the card', () => {
  assert.equal(macOf('a', 0), macOf('a', 0));
  assert.notEqual(macOf('a', 0), macOf('a', 1));
  assert.notEqual(macOf('a', 0), macOf('b', 0));
  assert.match(macOf('a', 0), /^52:54:00(:[0-9a-f]{2}){3}$/);
});

test('commas in values are doubled, and {run} is replaced everywhere', () => {
  assert.equal(escapeCommas('a,b,,c'), 'a,,b,,,,c');
  const { args } = buildCommandLine(
    spec({
      cmdline: 'console=ttyS0 a,b',
      kernel: '{run}/vmlinuz',
      qemuArguments: ['-chardev', 'file,id=x,path={run}/x', '-D', '{run}/trace'],
    }),
    { ...host, runFolder: '/run/a,b' },
  );
  assert.equal(one(args, '-append'), 'console=ttyS0 a,b');
  assert.equal(one(args, '-kernel'), '/run/a,b/vmlinuz');
  assert.equal(one(args, '-D'), '/run/a,b/trace');
  assert.equal(valuesOf(args, '-chardev').at(-1), 'file,id=x,path=/run/a,,b/x');
  assert.match(valuesOf(args, '-chardev')[0] ?? '', /path=\/run\/a,,b\/qmp\.sock/);
});

test('a socket path that the system cannot hold is refused with its length', () => {
  const runFolder = `/${'x'.repeat(110)}`;
  assert.throws(() => buildCommandLine(spec(), { ...host, runFolder }), /has 120 bytes, the system allows 107/);
});
