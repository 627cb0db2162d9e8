/** Telemetry of a made-up host, for tests. */
import type { HostTelemetry, VmTelemetry } from '../model/telemetry.ts';

export function sampleVmTelemetry(change: Partial<VmTelemetry> = {}): VmTelemetry {
  return {
    ...{
      name: 'web',
      state: 'running',
      vcpus: 2,
      guestCores: 1.5,
      overheadCores: 0.1,
      capCores: null,
      migration: null,
    },
    memory: { assignedBytes: 2 ** 30, residentBytes: 2 ** 29, usedBytes: 2 ** 28 },
    ...{ dirty: 'medium', dirtyBytesPerS: 50 * 2 ** 20 },
    network: { receivedBytesPerS: 1e6, sentBytesPerS: 2e6 },
    disk: { readBytesPerS: 0, writtenBytesPerS: 4096 },
    ...change,
  };
}

export function sampleTelemetry(change: Partial<HostTelemetry> = {}): HostTelemetry {
  return {
    ...{ host: 'host-a', atMs: Date.UTC(2026, 10, 21, 12, 0, 0), ageMs: 120 },
    cpu: { cores: 4, usedCores: 2.5, guestCores: 1.5 },
    memory: { totalBytes: 8 * 2 ** 30, availableBytes: 6 * 2 ** 30 },
    network: { receivedBytesPerS: 3e6, sentBytesPerS: 5e6 },
    disk: { readBytesPerS: null, writtenBytesPerS: null },
    peers: [{ name: 'host-b', reachable: true, roundTripMs: 0.4, linkBytesPerS: 117e6 }],
    vms: [sampleVmTelemetry()],
    ...change,
  };
}
