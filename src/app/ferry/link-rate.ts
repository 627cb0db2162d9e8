/**
 * The rate of the link to a destination, for adaptive compression: a first idea before the first page, unless it is known, and then what
 * the kernel measures while lanes work.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { DeliverySamples } from '../../io/lanes/delivery-samples.ts';
import { fastLink, isFast } from '../../io/lanes/fast-link.ts';
import { LinkMemory } from '../../io/lanes/link-memory.ts';
import type { LinkMemories } from '../../io/lanes/link-memory.ts';
import type { ControlConnection } from '../../io/link/control-connection.ts';
import type { DeliveryRates } from '../../io/link/delivery-rates.ts';
import { probeLink } from '../../io/link/link-probe.ts';
import type { Logger } from '../../io/log/logger.ts';
import type { SourceLink } from './source-link.ts';
import type { SourceSessionParts } from './source-session-parts.ts';

/** A link that has not taken a few hundred KiB by then is slow, which the lanes find out as well. */
const PROBE_TIMEOUT_MS = 500;
/**
 * Until a migration knows its link the kernel is asked often: a short one has use for it, and a link may no longer be what it was in the
 * migration before, though it most often is. Asking takes 4 ms of a processor.
 */
const OFTEN_MS = 150;
/** Of a link that is known to be no faster than packing. That one is faster may be a mistake, by which a whole guest travels unpacked. */
const KNOWN_MS = 300;
const SELDOM_MS = 1_000;
/** Before a connection has sent this much its rate is that of a burst, which a shaper lets through. */
const SENT_BYTES_MIN = 1 << 20;
/** An answer takes 4 ms. */
const WORD_TIMEOUT_MS = 100;

export type Links = {
  /** What is known of each peer. */
  readonly memories: LinkMemories;
  readonly rates: DeliveryRates;
};

/** The control connection of a migration; the link is measured on it, unless its rate is known or of no use. Throws LinkError. */
export async function connectMeasured(
  link: SourceLink,
  { request, links, log }: Pick<SourceSessionParts, 'request' | 'links' | 'log'>,
  signal: AbortSignal,
): Promise<ControlConnection> {
  const connection = await link.connection(signal);
  const memory = new LinkMemory(links.memories.of(request.destination.name), 1);
  if (request.options.compress !== 'adaptive' || memory.read(Date.now())?.isMeasured === true) return connection;
  const words: (number | null)[] = [];
  const seemsFast = async (): Promise<boolean> => {
    // One that says otherwise settles it.
    if (!words.every(isFast)) return false;
    const word = await wordOnProbe(links.rates, connection, request.destination.port);
    words.push(word);
    return isFast(word);
  };
  const msPerByte = await probeLink(connection, { timeoutMs: PROBE_TIMEOUT_MS, signal, seemsFast });
  if (msPerByte === null) return connection;
  const whose = { migration: request.id, peer: connection.peerName };
  memory.write({ msPerByte, isMeasured: true }, Date.now());
  logRate(log, { ...whose, by: 'probe' }, msPerByte);
  const deliveredMsPerByte = fastLink(words);
  if (deliveredMsPerByte === null) return connection;
  memory.writeDelivered(deliveredMsPerByte, Date.now());
  logRate(log, { ...whose, by: 'kernel' }, deliveredMsPerByte);
  return connection;
}

/** Bytes per millisecond at which the kernel saw the newest of the connection delivered; null when it does not say. */
async function wordOnProbe(rates: DeliveryRates, connection: ControlConnection, port: number): Promise<number | null> {
  const { remoteAddress, localPort } = connection;
  if (remoteAddress === null || localPort === null) return null;
  const nothing = sleep(WORD_TIMEOUT_MS, [], { ref: false });
  const deliveries = await Promise.race([rates.to(remoteAddress, port), nothing]);
  return deliveries.find((each) => each.connection.endsWith(`:${localPort}`))?.bytesPerMs ?? null;
}

/** Whose link, and who says so. */
type Measured = { readonly migration: string; readonly peer: string; readonly by: 'probe' | 'kernel' };

function logRate(log: Logger, { migration, peer, by }: Measured, msPerByte: number): void {
  const mbitPerS = Math.round(8 / msPerByte / 1000);
  log.info('migration.link', `The link to host "${peer}" takes about ${mbitPerS} Mbit/s`, { migration, by, mbitPerS });
}

/** Of a migration: the ports of its lanes, and where to note what is found. */
export type WatchedLanes = {
  readonly migration: string;
  readonly peer: string;
  readonly address: string;
  readonly ports: readonly number[];
  readonly memory: SharedArrayBuffer;
};

/**
 * Asks the kernel how fast the lanes' connections deliver, until `signal`. Only what a connection delivers that had more to send says
 * something of the link; the median, because a destination that is slow for a moment, or a burst after it, is not the link.
 */
export async function watchLink(
  rates: DeliveryRates,
  { migration, peer, address, ports, memory }: WatchedLanes,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const lanes = new LinkMemory(memory, ports.length);
  const sentBefore = new Map<string, number>();
  const samples = new DeliverySamples();
  const known = lanes.delivered(Date.now());
  const firstMs = known === null || isFast(1 / known) ? OFTEN_MS : KNOWN_MS;
  for (let isLogged = false; ;) {
    await sleep(samples.isSettled ? SELDOM_MS : firstMs, undefined, { signal, ref: false }).catch(() => undefined);
    if (signal.aborted) return;
    for (const port of new Set(ports)) {
      for (const { connection, sentBytes, bytesPerMs, isBusy } of await rates.to(address, port)) {
        const isNews = sentBytes >= SENT_BYTES_MIN && sentBytes !== sentBefore.get(connection);
        sentBefore.set(connection, sentBytes);
        if (isNews && isBusy && bytesPerMs !== null && bytesPerMs > 0) samples.add(bytesPerMs);
      }
    }
    const { bytesPerMs } = samples;
    if (bytesPerMs === null) continue;
    lanes.writeDelivered(1 / bytesPerMs, Date.now());
    if (!isLogged && samples.isSettled) logRate(log, { migration, peer, by: 'kernel' }, 1 / bytesPerMs / ports.length);
    isLogged ||= samples.isSettled;
  }
}
