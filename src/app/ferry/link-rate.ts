/** The rate of the link to a destination, for adaptive compression: found out before the first page, unless it is known. */
import { LinkMemory } from '../../io/lanes/link-memory.ts';
import type { ControlConnection } from '../../io/link/control-connection.ts';
import { probeLink } from '../../io/link/link-probe.ts';
import type { Logger } from '../../io/log/logger.ts';

/** A link that has not taken a few hundred KiB by then is slow, which the lanes find out as well. */
const PROBE_TIMEOUT_MS = 500;

/** Writes to `shared` (a LinkMemory) what it finds. Never throws. */
export async function measureLink(
  connection: ControlConnection,
  shared: SharedArrayBuffer,
  about: { readonly log: Logger; readonly migration: string; readonly signal: AbortSignal },
): Promise<void> {
  const memory = new LinkMemory(shared, 1);
  if (memory.read(Date.now())?.isMeasured === true) return;
  const msPerByte = await probeLink(connection, { timeoutMs: PROBE_TIMEOUT_MS, signal: about.signal });
  if (msPerByte === null) return;
  memory.write({ msPerByte, isMeasured: true }, Date.now());
  const mbitPerS = Math.round(8 / msPerByte / 1000);
  const text = `The link to host "${connection.peerName}" takes about ${mbitPerS} Mbit/s`;
  about.log.info('migration.link', text, { migration: about.migration, mbitPerS });
}
