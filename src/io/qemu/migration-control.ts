/**
 * Driving QEMU's own migration on both sides: what to set before, how to start and stop it, how to wait.
 *
 * Source: return-path on (the guest stays stopped until SHUT arrives), switchover-ack where it exists (QEMU iterates
 * until we say go), pause-before-switchover off. Destination: late-block-activate, so that it takes the disks' locks
 * only at `cont`, when the source has given them up.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { MigrationControlError, QmpError } from './errors.ts';
import type { MigrationFeatures } from './migration-features.ts';
import type { QmpClient } from './qmp-client.ts';
import type {
  MigrationCapabilityStatus,
  MigrationInfo,
  MigrationParameters,
  MigrationStatus,
  RunState,
} from './qmp-types.ts';
import type { StandingMonitor } from './standing-monitor.ts';

/** QEMU's largest downtime-limit: "whatever is left, stop now". */
export const DOWNTIME_LIMIT_MS_MAX = 2_000_000;
/** Freezes a QEMU 7.2 source: ten bytes per second are one byte per window. 1 to 9 would mean unlimited. */
export const FROZEN_BANDWIDTH_BYTES_PER_SECOND = 10;
/** Makes QEMU 8.2 and later believe that any rest fits into the downtime. */
export const ENDLESS_BANDWIDTH_BYTES_PER_SECOND = 1e15;

const POLL_MS = 50;

/** Sets the source's capabilities. Refused while a migration runs. Throws QmpError. */
export async function prepareSource(qmp: QmpClient, features: MigrationFeatures): Promise<void> {
  await setCapabilities(qmp, {
    'return-path': true,
    events: true,
    'pause-before-switchover': false,
    ...(features.switchoverAck ? { 'switchover-ack': true } : {}),
  });
}

/**
 * Sets the capabilities of a QEMU that waits with `-incoming defer`. `pull`: it will run before it has all pages, which needs
 * userfaultfd. Throws QmpError.
 */
export async function prepareDestination(qmp: QmpClient, features: MigrationFeatures, pull = false): Promise<void> {
  await setCapabilities(qmp, {
    events: true,
    ...(pull ? { 'postcopy-ram': true } : {}),
    ...(features.lateBlockActivate ? { 'late-block-activate': true } : {}),
  });
}

async function setCapabilities(qmp: QmpClient, wanted: Readonly<Record<string, boolean>>): Promise<void> {
  const capabilities: MigrationCapabilityStatus[] = Object.entries(wanted).map(([capability, state]) => ({
    capability,
    state,
  }));
  await qmp.execute('migrate-set-capabilities', { capabilities });
}

export type FeedParameters = {
  /** null = unlimited. Values from 1 to 9 are raised to 10, because QEMU reads them as unlimited. */
  readonly maxBandwidthBytesPerSecond?: number | null;
  readonly downtimeLimitMs?: number;
  /** Ignored where QEMU does not have it. */
  readonly availSwitchoverBandwidthBytesPerSecond?: number;
};

/** Sets what is given; may be called while the migration runs. Throws QmpError. */
export async function setParameters(
  qmp: QmpClient,
  values: FeedParameters,
  features: MigrationFeatures,
): Promise<void> {
  const bandwidth = values.maxBandwidthBytesPerSecond;
  const limit = values.downtimeLimitMs;
  const switchover = features.availSwitchoverBandwidth ? values.availSwitchoverBandwidthBytesPerSecond : undefined;
  await qmp.execute('migrate-set-parameters', {
    ...(bandwidth === undefined ? {} : { 'max-bandwidth': bandwidth === null ? 0 : atLeastTen(bandwidth) }),
    ...(limit === undefined ? {} : { 'downtime-limit': Math.min(DOWNTIME_LIMIT_MS_MAX, Math.round(limit)) }),
    ...(switchover === undefined ? {} : { 'avail-switchover-bandwidth': Math.round(switchover) }),
  });
}

/** Go: QEMU stops the guest at its next tick (with switchover-ack: as soon as the ack has also arrived). */
export async function orderSwitchover(qmp: QmpClient, features: MigrationFeatures): Promise<void> {
  const values: FeedParameters = {
    maxBandwidthBytesPerSecond: null,
    downtimeLimitMs: DOWNTIME_LIMIT_MS_MAX,
    availSwitchoverBandwidthBytesPerSecond: ENDLESS_BANDWIDTH_BYTES_PER_SECOND,
  };
  await setParameters(qmp, values, features);
}

/** The parameters and capabilities that we change, as they were. */
export type SavedSettings = {
  readonly parameters: MigrationParameters;
  readonly capabilities: readonly MigrationCapabilityStatus[];
};

const ownParameters = ['max-bandwidth', 'downtime-limit', 'avail-switchover-bandwidth'] as const;
const ownCapabilities = new Set(['return-path', 'events', 'pause-before-switchover', 'switchover-ack']);

export async function saveSettings(qmp: QmpClient): Promise<SavedSettings> {
  const current = await qmp.execute('query-migrate-parameters');
  const capabilities = await qmp.execute('query-migrate-capabilities');
  const parameters = Object.fromEntries(
    ownParameters.flatMap((name) => (current[name] === undefined ? [] : [[name, current[name]]])),
  );
  return { parameters, capabilities: capabilities.filter(({ capability }) => ownCapabilities.has(capability)) };
}

/** Puts a source back as it was found. Capabilities can only be set when no migration runs. Throws QmpError. */
export async function restoreSettings(qmp: QmpClient, saved: SavedSettings): Promise<void> {
  await qmp.execute('migrate-set-parameters', saved.parameters);
  await qmp.execute('migrate-set-capabilities', { capabilities: saved.capabilities });
}

/** Lets QEMU connect to our listening socket and begin. Throws QmpError. */
export async function startSource(qmp: QmpClient, socketPath: string): Promise<void> {
  await qmp.execute('migrate', { uri: `unix:${socketPath}` });
}

/** Makes a deferred destination listen. Where QEMU can, a failed load leaves it alive to say why. Throws QmpError. */
export async function startIncoming(qmp: QmpClient, socketPath: string, features: MigrationFeatures): Promise<void> {
  const uri = `unix:${socketPath}`;
  await qmp.execute('migrate-incoming', features.exitOnError ? { uri, 'exit-on-error': false } : { uri });
}

/** A guest that has all of its pages can be moved on: puts the pull phase's capability back. Throws QmpError. */
export async function endPull(qmp: QmpClient): Promise<void> {
  await setCapabilities(qmp, { 'postcopy-ram': false });
}

/**
 * Makes a destination in `postcopy-paused` listen for a stream to go on with. QEMU takes the connection in the thread that
 * runs this command (socket_start_incoming_migration uses that thread's main context). Throws QmpError.
 */
export async function recoverIncoming(qmp: StandingMonitor, socketPath: string): Promise<void> {
  await qmp.executeOob('migrate-recover', { uri: `unix:${socketPath}` });
}

/** Cancels; a migration that is not running is no error. The guest goes on if QEMU had stopped it for the migration. */
export async function cancelMigration(qmp: QmpClient): Promise<void> {
  await qmp.execute('migrate_cancel');
}

export type WaitOptions = { readonly timeoutMs: number; readonly signal?: AbortSignal };

/** Waits for one of the run states; looks after every event, and now and then. Throws MigrationControlError. */
export async function waitForRunState(
  qmp: QmpClient,
  states: readonly RunState[],
  options: WaitOptions,
): Promise<RunState> {
  const found = await pollOnEvents(qmp, options, async () => {
    const state = await qmp.runState(callOptions(options));
    return states.includes(state) ? state : null;
  });
  if (found !== null) return found;
  const text = `VM "${qmp.vm}" did not become ${states.join(' or ')} within ${options.timeoutMs} ms`;
  throw new MigrationControlError('QEMU_STATE_TIMEOUT', text, { vm: qmp.vm, states });
}

/** Waits for one of the statuses; a failed or cancelled migration ends it at once. Throws MigrationControlError. */
export async function waitForMigrationStatus(
  qmp: QmpClient,
  statuses: readonly MigrationStatus[],
  options: WaitOptions,
): Promise<MigrationInfo> {
  const found = await pollOnEvents(qmp, options, async () => {
    const info = await qmp.execute('query-migrate', undefined, callOptions(options));
    const status = info.status ?? 'none';
    if (statuses.includes(status)) return info;
    if (status !== 'failed' && status !== 'cancelled') return null;
    const text = `QEMU of VM "${qmp.vm}" reports its migration as ${status}: ${info['error-desc'] ?? 'no reason given'}`;
    throw new MigrationControlError('QEMU_MIGRATION_FAILED', text, { vm: qmp.vm, status });
  });
  if (found !== null) return found;
  const text = `The migration of VM "${qmp.vm}" did not become ${statuses.join(' or ')} within ${options.timeoutMs} ms`;
  throw new MigrationControlError('QEMU_MIGRATION_TIMEOUT', text, { vm: qmp.vm, statuses });
}

/** Runs `look` until it finds something: at once, after each event, and every POLL_MS. Null when time is up. */
async function pollOnEvents<T>(qmp: QmpClient, options: WaitOptions, look: () => Promise<T | null>): Promise<T | null> {
  const deadline = performance.now() + options.timeoutMs;
  let event = Promise.withResolvers<void>();
  const off = qmp.on('*', () => event.resolve());
  try {
    for (;;) {
      const found = await look();
      if (found !== null) return found;
      if (performance.now() >= deadline) return null;
      if (options.signal?.aborted === true) {
        throw new QmpError('QMP_ABORTED', `Waiting for VM "${qmp.vm}" was given up on request`, { vm: qmp.vm });
      }
      await Promise.race([event.promise, sleep(POLL_MS)]);
      event = Promise.withResolvers<void>();
    }
  } finally {
    off();
  }
}

function callOptions({ signal }: WaitOptions): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

function atLeastTen(bytesPerSecond: number): number {
  return Math.max(FROZEN_BANDWIDTH_BYTES_PER_SECOND, Math.round(bytesPerSecond));
}
