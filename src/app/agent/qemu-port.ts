/**
 * What the agent needs of QEMU, so that everything above can be tested without one. `qemu-driver.ts` is the real thing.
 */
import type { VmSpec } from '../../core/model/vm.ts';

export type Accelerator = 'kvm' | 'tcg';

/** What the local QEMU can do. */
export type QemuFacts = {
  readonly version: string;
  readonly machines: readonly { readonly name: string; readonly alias: string | null }[];
  readonly cpus: ReadonlySet<string>;
};

/** A running QEMU, as much as is needed to find it again. */
export type RunningQemu = {
  readonly pid: number;
  readonly startTicks: number;
  readonly qmpPath: string;
  readonly qgaPath: string | null;
  /** Versioned machine type. */
  readonly machine: string;
  readonly qemuVersion: string;
  readonly accelerator: Accelerator;
};

export type QemuStart = {
  /** `machine` is the one to start: an alias is resolved here. */
  readonly spec: VmSpec;
  readonly runFolder: string;
  readonly incoming: boolean;
  /** The guest may run before all of its pages are there: QEMU gets a monitor that outlives the agent. */
  readonly pull: boolean;
};

/** A QEMU that someone else started, as its monitor describes it. */
export type QemuInspection = Omit<RunningQemu, 'qmpPath' | 'qgaPath'> & {
  readonly vcpus: number;
  readonly memoryBytes: number;
};

/** Where the monitor of a machine is. */
export type MonitorPlace = { readonly vm: string; readonly qmpPath: string };

/** `running`, `paused` (any other run state), `handed over` (migrated away, its QEMU still there), `silent`. */
export type GuestState = 'running' | 'paused' | 'handed over' | 'silent';

export type QemuPort = {
  /** Throws QemuProcessError when the QEMU binary does not run. */
  facts(): Promise<QemuFacts>;
  /** Why QEMU cannot run a guest whose pages are still missing here (userfaultfd), in its own words; null when it can. */
  userfaultfdProblem(): Promise<string | null>;
  /** Whether /dev/kvm really boots a guest; probed once. */
  kvmWorks(): Promise<boolean>;
  start(request: QemuStart, signal?: AbortSignal): Promise<RunningQemu>;
  /** Finds out who serves a monitor that someone else made. Refuses a guest agent's socket that is not that QEMU's. */
  inspect(place: MonitorPlace, qgaPath: string | null): Promise<QemuInspection>;
  /** A QEMU that an earlier agent started lives on: what it says unasked is read from now on. */
  foundAgain(vm: string, runFolder: string): void;
  isAlive(process: { readonly pid: number; readonly startTicks: number }): boolean;
  guestState(place: MonitorPlace): Promise<GuestState>;
  /** Presses the guest's power button (ACPI). */
  powerDown(place: MonitorPlace): Promise<void>;
  /** Ends QEMU: by its monitor, by signal where that does not answer. Idempotent. */
  end(process: { readonly pid: number; readonly startTicks: number }, place: MonitorPlace): Promise<void>;
  /** Resolves true when the process has ended, false when the time is over. */
  waitForEnd(process: { readonly pid: number; readonly startTicks: number }, timeoutMs: number): Promise<boolean>;
  /** Removes what a start made outside the run folder (tap devices). Idempotent. */
  cleanUp(spec: VmSpec): Promise<void>;
};
