/** The files that a VM has in its run folder, one place for their names. */
export type RunPaths = {
  readonly folder: string;
  readonly qmpSocket: string;
  readonly agentSocket: string;
  /** What the guest writes to its first serial port. */
  readonly consoleLog: string;
  /** QEMU's own standard output and error. */
  readonly qemuLog: string;
  /** Where a QEMU connects for its migration stream (source), or listens (destination). */
  readonly migrationSocket: string;
  /** Of a pair of FIFOs, NAME.in and NAME.out, without what tells them apart. */
  readonly standingMonitor: string;
};

export function runPaths(folder: string): RunPaths {
  return {
    folder,
    qmpSocket: `${folder}/qmp.sock`,
    agentSocket: `${folder}/qga.sock`,
    consoleLog: `${folder}/console.log`,
    qemuLog: `${folder}/qemu.log`,
    migrationSocket: `${folder}/migration.sock`,
    standingMonitor: `${folder}/standing`,
  };
}
