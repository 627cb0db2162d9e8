/** A guest of a case on host a whose work is under way, to be looked at by measurements. */
import { QmpClient } from '../../../io/qemu/qmp-client.ts';
import { waitForPass, waitUntilReady } from '../../lab/move-watch.ts';
import { socketsBeside, startMoved } from '../bench-guest.ts';
import { caseOf } from '../cases.ts';
import { BenchError } from '../errors.ts';
import type { MeasureTools } from '../measures.ts';
import { modeOf, referenceMode } from '../modes.ts';
import { benchQemus } from '../process-watch.ts';

export type SettledGuest = { readonly qmp: QmpClient; readonly pid: number };

/** Ends the guest when `look` is done. Throws what starting guests throws, BenchError BENCH_FAILED, and what `look` throws. */
export async function withSettledGuest<T>(
  caseName: string,
  tools: MeasureTools,
  look: (guest: SettledGuest) => Promise<T>,
): Promise<T> {
  const guest = await startMoved(caseOf(caseName), modeOf(referenceMode), tools, tools);
  try {
    await waitForPass(guest, await waitUntilReady(guest, tools), tools);
    const { monitor } = socketsBeside(await guest.consoleFile());
    const [pid] = benchQemus(monitor);
    if (pid === undefined)
      throw new BenchError('BENCH_FAILED', `The QEMU of the guest of case "${caseName}" was not found`);
    const qmp = await QmpClient.connect({ socketPath: monitor, vm: 'guest' });
    try {
      return await look({ qmp, pid });
    } finally {
      qmp.close();
    }
  } finally {
    await guest.stop();
  }
}
