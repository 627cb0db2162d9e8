/** Thread entry of the pump: PumpInit as worker data, then ToPump in and FromPump out. */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../../core/base/assert.ts';
import { Pump } from './pump.ts';
import type { PumpInit, ToPump } from './pump-protocol.ts';

const port = parentPort;
assert(port !== null, 'the pump runs as a worker');
const pump = new Pump(workerData as PumpInit, (message, transfer = []) => port.postMessage(message, transfer));
port.on('message', (message: ToPump) => {
  if (message.type === 'close') void pump.close().then(() => port.close());
  else pump.receive(message);
});
await pump.start();
