/** What a host, or one VM, did in some time: one point of its history. */
export type TelemetryPoint = {
  /** The end of the time, epoch milliseconds. */
  readonly atMs: number;
  /** Of a VM its vCPU threads; of the host everything. Processors, mean over the time, like all rates. */
  readonly cores: number | null;
  /** Of a VM the rest of its QEMU; of the host the vCPU threads of its VMs. */
  readonly otherCores: number | null;
  /** Of a VM resident; of the host what is not available. At the end of the time. */
  readonly memoryBytes: number | null;
  readonly dirtyBytesPerS: number | null;
  readonly receivedBytesPerS: number | null;
  readonly sentBytesPerS: number | null;
  readonly readBytesPerS: number | null;
  readonly writtenBytesPerS: number | null;
};

export type TelemetryHistory = {
  /** Null: of the host. */
  readonly vm: string | null;
  /** Of one point. */
  readonly spanMs: number;
  /** Oldest first. */
  readonly points: readonly TelemetryPoint[];
};
