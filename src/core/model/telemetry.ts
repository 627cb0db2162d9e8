/**
 * What a host and its VMs are doing: one look per second, as the agent samples it, shows it, and tells it to other hosts.
 *
 * CPU use is in processor cores (1.5 = one and a half cores busy) over the time since the look before, rates are per second
 * over the same time. Null: not known, for example in the first look or where the guest has no agent.
 */
import type { PlacementSpec, VmState } from './vm.ts';

/** By the share of its memory that a VM writes to per second, each page counted once. */
export const dirtyClasses = ['idle', 'low', 'medium', 'high'] as const;
export type DirtyClass = (typeof dirtyClasses)[number];

export type VmTelemetry = {
  readonly name: string;
  readonly state: VmState;
  readonly vcpus: number;
  /** vCPU threads, and all other threads of its QEMU. */
  readonly guestCores: number | null;
  readonly overheadCores: number | null;
  /** The most that its processor group allows it; null: as much as it wants. */
  readonly capCores: number | null;
  readonly memory: {
    readonly assignedBytes: number;
    readonly residentBytes: number;
    /** By its own account, without cache; from the guest agent. */
    readonly usedBytes: number | null;
  };
  readonly dirty: DirtyClass | null;
  readonly dirtyBytesPerS: number | null;
  readonly network: { readonly receivedBytesPerS: number | null; readonly sentBytesPerS: number | null };
  readonly disk: { readonly readBytesPerS: number | null; readonly writtenBytesPerS: number | null };
  /** The migration it takes part in. */
  readonly migration: string | null;
  /** What its spec says to the autopilot. */
  readonly placement?: PlacementSpec | undefined;
};

export type PeerTelemetry = {
  readonly name: string;
  readonly reachable: boolean;
  readonly roundTripMs: number | null;
  /** As last measured by a migration or a plan. */
  readonly linkBytesPerS: number | null;
};

export type HostTelemetry = {
  readonly host: string;
  /** Of the sample, on this host's clock; and how old it was when it was told. */
  readonly atMs: number;
  readonly ageMs: number;
  /** `cores`: what its VMs may use; `usedCores`: by everything on the host, or in its own processor group. */
  readonly cpu: { readonly cores: number; readonly usedCores: number | null; readonly guestCores: number };
  readonly memory: { readonly totalBytes: number; readonly availableBytes: number };
  readonly network: { readonly receivedBytesPerS: number | null; readonly sentBytesPerS: number | null };
  readonly disk: { readonly readBytesPerS: number | null; readonly writtenBytesPerS: number | null };
  readonly peers: readonly PeerTelemetry[];
  readonly vms: readonly VmTelemetry[];
};
