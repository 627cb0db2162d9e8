/** A disk of a VM's spec as QEMU block device nodes: a protocol node (file, NBD, iSCSI) below a format node. */
import type { DiskSpec } from '../../core/model/vm.ts';
import { QemuProcessError } from './errors.ts';

type Node = Readonly<Record<string, unknown>>;

const NBD_PORT = '10809';

/** How each cache mode sets the host's page cache, flushes, and the guest's write cache (QEMU's -drive cache=). */
const cacheModes = {
  none: { direct: true, noFlush: false, writeCache: true },
  directsync: { direct: true, noFlush: false, writeCache: false },
  writeback: { direct: false, noFlush: false, writeCache: true },
  writethrough: { direct: false, noFlush: false, writeCache: false },
  unsafe: { direct: false, noFlush: true, writeCache: true },
} as const;

/** The `-blockdev` JSON of one disk and the node that the device uses. Throws QemuProcessError QEMU_SPEC. */
export function blockdevOf(disk: DiskSpec, nodeName: string): Node {
  const mode = cacheModes[disk.cache];
  const common = {
    'read-only': disk.readOnly,
    cache: { direct: mode.direct, 'no-flush': mode.noFlush },
    discard: 'unmap',
  };
  return {
    driver: disk.format,
    'node-name': nodeName,
    ...common,
    file: { ...protocolOf(disk.source), 'node-name': `${nodeName}-file`, ...common },
  };
}

export function hasWriteCache(disk: DiskSpec): boolean {
  return cacheModes[disk.cache].writeCache;
}

function protocolOf(source: string): Node {
  if (source.startsWith('nbd://')) return nbdOf(source);
  if (source.startsWith('iscsi://')) return iscsiOf(source);
  if (!source.startsWith('/')) {
    throw new QemuProcessError('QEMU_SPEC', `Disk "${source}" is neither an absolute path nor nbd:// nor iscsi://`, {
      source,
    });
  }
  return { driver: source.startsWith('/dev/') ? 'host_device' : 'file', filename: source };
}

function nbdOf(source: string): Node {
  const match = /^nbd:\/\/(\[[^\]]+\]|[^:/]+)(?::(\d+))?(?:\/(.*))?$/.exec(source);
  if (match === null) {
    throw new QemuProcessError('QEMU_SPEC', `Disk "${source}" is not nbd://host:port/export`, { source });
  }
  const host = (match[1] ?? '').replace(/^\[|\]$/g, '');
  const server = { type: 'inet', host, port: match[2] ?? NBD_PORT };
  return { driver: 'nbd', server, export: match[3] ?? '' };
}

function iscsiOf(source: string): Node {
  const match = /^iscsi:\/\/([^/]+)\/([^/]+)\/(\d+)$/.exec(source);
  if (match === null) {
    throw new QemuProcessError('QEMU_SPEC', `Disk "${source}" is not iscsi://host:port/target/lun`, { source });
  }
  return { driver: 'iscsi', transport: 'tcp', portal: match[1], target: match[2], lun: Number(match[3]) };
}
