/**
 * What a QEMU's migration code offers and what stands in the way of using it.
 *
 * A feature counts when the version has it and QEMU lists it: distributions backport and remove. Everything that would
 * put data past us (other channels), or into the stream in a form that we do not read, has to be off before the guest
 * is touched (qemu-stream.md, section 3).
 */
import type { Problem } from '../../core/model/vm.ts';
import type { QmpClient } from './qmp-client.ts';
import type { MigrationCapabilityStatus, MigrationInfo, MigrationParameters } from './qmp-types.ts';
import { isAtLeast, type QemuVersion } from './version.ts';

export type MigrationFeatures = {
  readonly version: QemuVersion;
  /** 8.1: QEMU iterates until it gets SWITCHOVER_ACK. Without it only back pressure and bandwidth hold it. */
  readonly switchoverAck: boolean;
  /** 8.2: the switchover decision can be forced independently of the measured bandwidth. */
  readonly availSwitchoverBandwidth: boolean;
  /** 9.1: an incoming QEMU can survive a failed load and tell why. */
  readonly exitOnError: boolean;
  /** 9.0: software emulation no longer loses dirty pages (qemu-stream.md, section 0). */
  readonly reliableTcgDirtyLog: boolean;
  readonly lateBlockActivate: boolean;
  readonly returnPath: boolean;
};

/** Asks the QEMU. Throws QmpError. */
export async function migrationFeatures(qmp: QmpClient): Promise<MigrationFeatures> {
  const capabilities = await qmp.execute('query-migrate-capabilities');
  const parameters = await qmp.execute('query-migrate-parameters');
  return featuresOf(qmp.version, capabilities, parameters);
}

export function featuresOf(
  version: QemuVersion,
  capabilities: readonly MigrationCapabilityStatus[],
  parameters: MigrationParameters,
): MigrationFeatures {
  const lists = (name: string): boolean => capabilities.some(({ capability }) => capability === name);
  return {
    version,
    switchoverAck: isAtLeast(version, 8, 1) && lists('switchover-ack'),
    availSwitchoverBandwidth: isAtLeast(version, 8, 2) && 'avail-switchover-bandwidth' in parameters,
    exitOnError: isAtLeast(version, 9, 1),
    reliableTcgDirtyLog: isAtLeast(version, 9, 0),
    lateBlockActivate: lists('late-block-activate'),
    returnPath: lists('return-path'),
  };
}

/** Capabilities that must be off, and what each would do to us. */
const forbidden: Readonly<Record<string, string>> = {
  multifd: 'sends pages over connections of its own',
  xbzrle: 'sends differences that only the next page version completes',
  compress: 'sends compressed pages',
  'x-colo': 'keeps two guests running',
  block: 'migrates disks in the same stream',
  'dirty-bitmaps': 'migrates disk bitmaps in the same stream',
  'rdma-pin-all': 'is for RDMA',
  'background-snapshot': 'makes a snapshot instead of a migration',
  'mapped-ram': 'writes a file format',
  'zero-copy-send': 'sends pages from memory that may still change',
  'postcopy-ram': 'changes the stream for post-copy',
  'postcopy-preempt': 'sends pages over a connection of its own',
  'postcopy-blocktime': 'is for post-copy',
  'x-ignore-shared': 'leaves shared memory out of the stream',
  'validate-uuid': 'adds a check that the destination cannot answer',
  'release-ram': 'throws guest memory away while it is sent',
};

export type SourceState = {
  readonly capabilities: readonly MigrationCapabilityStatus[];
  readonly parameters: MigrationParameters;
  readonly migration: MigrationInfo;
};

/** Everything that forbids a migration of this guest by us now; empty when nothing does. Throws QmpError. */
export async function checkSourceReady(qmp: QmpClient): Promise<Problem[]> {
  return sourceProblems({
    capabilities: await qmp.execute('query-migrate-capabilities'),
    parameters: await qmp.execute('query-migrate-parameters'),
    migration: await qmp.execute('query-migrate'),
  });
}

const underWay = new Set(['setup', 'active', 'pre-switchover', 'device', 'cancelling', 'wait-unplug']);

export function sourceProblems({ capabilities, parameters, migration }: SourceState): Problem[] {
  const problems: Problem[] = [];
  for (const { capability, state } of capabilities) {
    const effect = forbidden[capability];
    if (!state || effect === undefined) continue;
    const message = `QEMU's migration capability "${capability}" is on and ${effect}: switch it off with migrate-set-capabilities`;
    problems.push({ code: 'QEMU_CAPABILITY', message });
  }
  if (!capabilities.some(({ capability }) => capability === 'return-path')) {
    problems.push({
      code: 'QEMU_FEATURE',
      message: 'This QEMU has no migration capability "return-path": use 7.2 or later',
    });
  }
  for (const reason of migration['blocked-reasons'] ?? []) {
    problems.push({ code: 'QEMU_BLOCKED', message: `QEMU refuses to migrate this guest: ${reason}` });
  }
  const status = migration.status ?? 'none';
  if (underWay.has(status) || status.startsWith('postcopy')) {
    problems.push({ code: 'QEMU_MIGRATING', message: `A migration of this guest is already under way (${status})` });
  }
  if ((parameters.mode ?? 'normal') !== 'normal') {
    const message = `QEMU's migration parameter mode is "${parameters.mode}": set it to "normal"`;
    problems.push({ code: 'QEMU_PARAMETER', message });
  }
  if ((parameters['tls-creds'] ?? '') !== '') {
    const message = `QEMU's migration parameter tls-creds is "${parameters['tls-creds']}": clear it, vmferry encrypts itself`;
    problems.push({ code: 'QEMU_PARAMETER', message });
  }
  return problems;
}
