/** How much of the host's processor time nobody used, from call to call. */
import fs from 'node:fs';

/** The first line of /proc/stat: `cpu  user nice system idle iowait irq softirq steal ...`, in ticks since the boot. */
const LINE_BYTES_MAX = 256;
const COUNTED_FIELDS = 8;

export class HostIdle {
  readonly #fd = fs.openSync('/proc/stat', 'r');
  readonly #line = Buffer.alloc(LINE_BYTES_MAX);
  #idleTicks = 0;
  #allTicks = 0;

  constructor() {
    this.take();
  }

  /** From 0 (all processors were busy) to 1 since the last call; 1 when too little time has passed to say. */
  take(): number {
    const length = fs.readSync(this.#fd, this.#line, 0, LINE_BYTES_MAX, 0);
    const ticks = this.#line.toString('latin1', 5, length).split(/\s+/, COUNTED_FIELDS).map(Number);
    const idleTicks = (ticks[3] ?? 0) + (ticks[4] ?? 0);
    const allTicks = ticks.reduce((sum, each) => sum + each, 0);
    const [idle, all] = [idleTicks - this.#idleTicks, allTicks - this.#allTicks];
    this.#idleTicks = idleTicks;
    this.#allTicks = allTicks;
    return all <= 0 ? 1 : Math.min(1, Math.max(0, idle / all));
  }

  close(): void {
    fs.closeSync(this.#fd);
  }
}
