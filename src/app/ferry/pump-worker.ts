/**
 * Thread entry of the pump. It is started with the number of lanes, as early as possible, and boots their threads; a
 * PumpInit follows when the destination has said what it offers, then ToPump in and FromPump out.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../../core/base/assert.ts';
import { bootSourceLanes } from '../../io/lanes/source-lane-pool.ts';
import { Pump } from './pump.ts';
import type { PumpBoot, ToPump } from './pump-protocol.ts';

const port = parentPort;
assert(port !== null, 'the pump runs as a worker');
const workers = bootSourceLanes((workerData as PumpBoot).lanes);
let pump: Pump | null = null;

port.on('message', (message: ToPump) => {
  if (message.type === 'init') {
    pump = new Pump(message.init, workers, (out, transfer = []) => port.postMessage(out, transfer));
    void pump.start();
  } else if (message.type === 'close') {
    void close().then(() => port.close());
  } else pump?.receive(message);
});

async function close(): Promise<void> {
  if (pump !== null) await pump.close();
  else await Promise.all(workers.map(async (worker) => await worker.terminate()));
}
