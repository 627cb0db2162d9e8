/** The rate of the link to a destination, for adaptive compression: found out before the first page, unless it is known. */
import { LinkMemory } from '../../io/lanes/link-memory.ts';
import type { ControlConnection } from '../../io/link/control-connection.ts';
import { probeLink } from '../../io/link/link-probe.ts';
import type { SourceLink } from './source-link.ts';
import type { SourceSessionParts } from './source-session-parts.ts';

/** A link that has not taken a few hundred KiB by then is slow, which the lanes find out as well. */
const PROBE_TIMEOUT_MS = 500;

/** The control connection of a migration; the link is measured on it, unless its rate is known or of no use. Throws LinkError. */
export async function connectMeasured(
  link: SourceLink,
  { request, links, log }: Pick<SourceSessionParts, 'request' | 'links' | 'log'>,
  signal: AbortSignal,
): Promise<ControlConnection> {
  const connection = await link.connection(signal);
  const memory = new LinkMemory(links.of(request.destination.name), 1);
  if (request.options.compress !== 'adaptive' || memory.read(Date.now())?.isMeasured === true) return connection;
  const msPerByte = await probeLink(connection, { timeoutMs: PROBE_TIMEOUT_MS, signal });
  if (msPerByte === null) return connection;
  memory.write({ msPerByte, isMeasured: true }, Date.now());
  const mbitPerS = Math.round(8 / msPerByte / 1000);
  const text = `The link to host "${connection.peerName}" takes about ${mbitPerS} Mbit/s`;
  log.info('migration.link', text, { migration: request.id, mbitPerS });
  return connection;
}
