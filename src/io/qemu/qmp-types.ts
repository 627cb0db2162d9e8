/**
 * The part of QEMU's QAPI schema that vmferry uses, as types: names and units as in QEMU's documentation.
 *
 * The types state what QEMU 7.2 and later send; fields that came later are optional. Nothing is validated field by
 * field: the peer is a QEMU that this host started, and a missing field shows where it is used.
 */
import type { QemuVersion } from './version.ts';

export type RunState =
  | 'debug'
  | 'inmigrate'
  | 'internal-error'
  | 'io-error'
  | 'paused'
  | 'postmigrate'
  | 'prelaunch'
  | 'finish-migrate'
  | 'restore-vm'
  | 'running'
  | 'save-vm'
  | 'shutdown'
  | 'suspended'
  | 'watchdog'
  | 'guest-panicked'
  | 'colo';

export type MigrationStatus =
  | 'none'
  | 'setup'
  | 'cancelling'
  | 'cancelled'
  | 'active'
  | 'postcopy-device'
  | 'postcopy-active'
  | 'postcopy-paused'
  | 'postcopy-recover-setup'
  | 'postcopy-recover'
  | 'completed'
  | 'failed'
  | 'colo'
  | 'pre-switchover'
  | 'device'
  | 'wait-unplug';

export type MigrationInfo = {
  /** Absent before the first migration. */
  readonly status?: MigrationStatus;
  readonly 'total-time'?: number;
  readonly downtime?: number;
  readonly 'expected-downtime'?: number;
  readonly 'setup-time'?: number;
  readonly 'error-desc'?: string;
  readonly 'blocked-reasons'?: readonly string[];
  readonly ram?: {
    readonly transferred: number;
    readonly remaining: number;
    readonly total: number;
    readonly duplicate: number;
    readonly 'postcopy-requests'?: number;
    readonly normal: number;
    readonly 'dirty-pages-rate': number;
    readonly 'dirty-sync-count': number;
    readonly mbps: number;
  };
  /** With xbzrle. `bytes` are without the page header of 8 bytes. */
  readonly 'xbzrle-cache'?: {
    readonly bytes: number;
    readonly pages: number;
    readonly 'cache-miss': number;
    readonly overflow: number;
  };
};

export type MigrationCapabilityStatus = { readonly capability: string; readonly state: boolean };

export type MigrationParameters = {
  /** Bytes per second; 0 = unlimited, and so are 1 to 9 (QEMU divides by ten). */
  readonly 'max-bandwidth'?: number;
  /** Milliseconds, at most 2000000. */
  readonly 'downtime-limit'?: number;
  /** Bytes per second, QEMU 8.2 and later. */
  readonly 'avail-switchover-bandwidth'?: number;
  /** QEMU 8.2 and later. */
  readonly mode?: 'normal' | 'cpr-reboot' | 'cpr-transfer' | 'cpr-exec';
  readonly 'announce-initial'?: number;
  readonly 'announce-max'?: number;
  readonly 'announce-rounds'?: number;
  readonly 'announce-step'?: number;
  readonly 'tls-creds'?: string;
  readonly 'multifd-channels'?: number;
  readonly 'multifd-compression'?: 'none' | 'zlib' | 'zstd';
  /** 1 (QEMU's default) to 20. */
  readonly 'multifd-zstd-level'?: number;
};

export type MachineInfo = {
  readonly name: string;
  readonly alias?: string;
  readonly 'is-default'?: boolean;
  readonly 'cpu-max': number;
  readonly deprecated: boolean;
  readonly 'default-ram-id'?: string;
};

export type BlockNode = {
  readonly 'node-name'?: string;
  readonly file: string;
  readonly drv: string;
  readonly ro: boolean;
  readonly active?: boolean;
};

type BlockInfo = {
  readonly device: string;
  readonly qdev?: string;
  readonly inserted?: BlockNode;
  readonly 'io-status'?: 'ok' | 'failed' | 'nospace';
};

type BlockStats = {
  readonly device?: string;
  readonly qdev?: string;
  readonly 'node-name'?: string;
  readonly stats: {
    readonly rd_bytes: number;
    readonly wr_bytes: number;
    readonly rd_operations: number;
    readonly wr_operations: number;
  };
};

export type MemoryDevice = {
  readonly type: 'dimm' | 'nvdimm' | 'virtio-pmem' | 'virtio-mem' | 'sgx-epc' | 'hv-balloon';
  readonly data: { readonly id?: string; readonly memaddr?: number; readonly addr?: number; readonly size?: number };
};

export type AnnounceParameters = {
  /** Milliseconds. */
  readonly initial: number;
  readonly max: number;
  readonly rounds: number;
  readonly step: number;
};

type Empty = Readonly<Record<string, never>>;
type Call<Args, Result> = { readonly args: Args; readonly result: Result };

/** Every command that the product sends: its arguments and what it returns. */
export type QmpCommands = {
  'query-status': Call<undefined, { readonly status: RunState; readonly running: boolean }>;
  'query-version': Call<undefined, { readonly qemu: QemuVersion; readonly package: string }>;
  'query-name': Call<undefined, { readonly name?: string }>;
  'query-uuid': Call<undefined, { readonly UUID: string }>;
  'query-kvm': Call<undefined, { readonly enabled: boolean; readonly present: boolean }>;
  'query-migrate': Call<undefined, MigrationInfo>;
  /** Seconds, and pages looked at per GiB. The rate is in MiB/s, once it is measured. */
  'calc-dirty-rate': Call<{ readonly 'calc-time': number; readonly 'sample-pages': number }, Empty>;
  'query-dirty-rate': Call<undefined, { readonly status: string; readonly 'dirty-rate'?: number }>;
  'query-migrate-capabilities': Call<undefined, readonly MigrationCapabilityStatus[]>;
  'query-migrate-parameters': Call<undefined, MigrationParameters>;
  'migrate-set-capabilities': Call<{ readonly capabilities: readonly MigrationCapabilityStatus[] }, Empty>;
  'migrate-set-parameters': Call<MigrationParameters, Empty>;
  migrate: Call<{ readonly uri: string }, Empty>;
  'migrate-incoming': Call<{ readonly uri: string; readonly 'exit-on-error'?: boolean }, Empty>;
  migrate_cancel: Call<undefined, Empty>;
  'migrate-start-postcopy': Call<undefined, Empty>;
  'migrate-continue': Call<{ readonly state: MigrationStatus }, Empty>;
  'migrate-recover': Call<{ readonly uri: string }, Empty>;
  'migrate-pause': Call<undefined, Empty>;
  cont: Call<undefined, Empty>;
  stop: Call<undefined, Empty>;
  quit: Call<undefined, Empty>;
  system_powerdown: Call<undefined, Empty>;
  system_reset: Call<undefined, Empty>;
  'announce-self': Call<AnnounceParameters, Empty>;
  'query-block': Call<undefined, readonly BlockInfo[]>;
  'query-named-block-nodes': Call<{ readonly flat?: boolean } | undefined, readonly BlockNode[]>;
  'query-blockstats': Call<undefined, readonly BlockStats[]>;
  'human-monitor-command': Call<{ readonly 'command-line': string }, string>;
  'qom-get': Call<{ readonly path: string; readonly property: string }, unknown>;
  'qom-list': Call<{ readonly path: string }, readonly { readonly name: string; readonly type: string }[]>;
  'query-memory-size-summary': Call<undefined, { readonly 'base-memory': number; readonly 'plugged-memory'?: number }>;
  'query-memory-devices': Call<undefined, readonly MemoryDevice[]>;
  'query-memdev': Call<undefined, readonly { readonly id?: string; readonly size: number; readonly share?: boolean }[]>;
  'query-machines': Call<undefined, readonly MachineInfo[]>;
  'query-cpus-fast': Call<undefined, readonly { readonly 'cpu-index': number; readonly 'thread-id': number }[]>;
  'query-yank': Call<undefined, readonly YankInstance[]>;
  yank: Call<{ readonly instances: readonly YankInstance[] }, Empty>;
};
export type QmpCommandName = keyof QmpCommands;

export type YankInstance =
  | { readonly type: 'migration' }
  | { readonly type: 'block-node'; readonly 'node-name': string }
  | { readonly type: 'chardev'; readonly id: string };

/** The commands that QEMU also runs out of band, that is without its big lock. */
export type OobCommandName = 'yank' | 'query-yank' | 'migrate-recover' | 'migrate-pause';

/** The events that the product looks at; others arrive with `unknown` data. */
export type QmpEvents = {
  STOP: Empty;
  RESUME: Empty;
  RESET: { readonly guest: boolean; readonly reason: string };
  POWERDOWN: Empty;
  SHUTDOWN: { readonly guest: boolean; readonly reason: string };
  SUSPEND: Empty;
  WAKEUP: Empty;
  GUEST_PANICKED: { readonly action: string };
  MIGRATION: { readonly status: MigrationStatus };
  MIGRATION_PASS: { readonly pass: number };
  VSERPORT_CHANGE: { readonly id: string; readonly open: boolean };
  BLOCK_IO_ERROR: { readonly device: string; readonly operation: string; readonly reason: string };
};
export type QmpEventName = keyof QmpEvents;

export type QmpEvent<Name extends string = string> = {
  readonly event: Name;
  readonly data: Name extends QmpEventName ? QmpEvents[Name] : unknown;
  /** QEMU's wall clock when it raised the event, microseconds since 1970. */
  readonly timestampUs: number;
  /** Our monotonic clock (performance.now) when the line was read, milliseconds. */
  readonly receivedMs: number;
};
