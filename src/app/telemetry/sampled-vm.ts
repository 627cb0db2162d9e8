/** A machine of this host, as the sampler is told of it each second; the agent gives them out. */
import type { VmSpec, VmState } from '../../core/model/vm.ts';

export type SampledVm = {
  readonly name: string;
  readonly state: VmState;
  readonly spec: VmSpec;
  /** The migration, or the plan, that uses it now: its monitor and its guest agent must be left alone. */
  readonly migration: string | null;
  /** Null: its QEMU is being started. */
  readonly process: SampledProcess | null;
};

export type SampledProcess = {
  readonly pid: number;
  readonly startTicks: number;
  readonly qmpPath: string;
  readonly qgaPath: string | null;
};
