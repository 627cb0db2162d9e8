/**
 * The rate of the link to a destination, for adaptive compression: a first idea before the first page, unless it is known, and then what
 * the kernel measures while lanes work.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { LinkMemory, type LinkMemories } from '../../io/lanes/link-memory.ts';
import { LinkSamples } from '../../io/lanes/link-samples.ts';
import type { Delivery, DeliveryRates } from '../../io/link/delivery-rates.ts';
import { ProbeVerdict } from '../../io/lanes/probe-verdict.ts';
import type { ControlConnection } from '../../io/link/control-connection.ts';
import { probeLink } from '../../io/link/link-probe.ts';
import type { Logger } from '../../io/log/logger.ts';
import type { SourceSessionParts } from './source-session-parts.ts';

/** A link that has not taken a few hundred KiB by then is slow, which the lanes find out as well. */
const PROBE_TIMEOUT_MS = 500;
/** An answer of the kernel takes 4 ms. */
const WORD_TIMEOUT_MS = 100;
/** By then lanes have sent a few MiB over a fast link, which is what proves it. */
const FIRST_MS = 75;
/**
 * Until a migration knows its link the kernel is asked often: a short one has use for it, and a link may no longer be what it was in the
 * migration before, though it most often is. Asking takes 4 ms of a processor.
 */
const OFTEN_MS = 150;
/** Of a link that is known to be no faster than packing. That one is faster may be a mistake, by which a whole guest travels unpacked. */
const KNOWN_MS = 300;
const SELDOM_MS = 1_000;

export type Links = {
  /** What is known of each peer. */
  readonly memories: LinkMemories;
  readonly rates: DeliveryRates;
};

/** Whose link is measured. */
type Measuring = Pick<SourceSessionParts, 'request' | 'links' | 'log'>;

/**
 * A first idea of the link, by probes over the control connection while the destination works for the reservation, unless it is known or of no use. What
 * is not found by then is not waited for. Rejects as `work` does.
 */
export async function measuredDuring<T>(
  work: Promise<T>,
  connection: ControlConnection,
  measuring: Measuring,
): Promise<T> {
  let isOver = false;
  void measureLink(connection, measuring, () => isOver);
  try {
    return await work;
  } finally {
    isOver = true;
  }
}

/** Never throws. */
async function measureLink(
  connection: ControlConnection,
  { request, links, log }: Measuring,
  isOver: () => boolean,
): Promise<void> {
  const { name: peer, port } = request.destination;
  const memory = new LinkMemory(links.memories.of(peer), 1);
  if (request.options.compress !== 'adaptive' || memory.isKnown(Date.now())) return;
  const verdict = new ProbeVerdict();
  const isWanted = async (): Promise<boolean | null> => {
    const said = await deliveryOf(links.rates, connection, port);
    if (isOver()) return false;
    if (said === null) return null;
    verdict.add(said.bytesPerMs);
    return !verdict.isSettled;
  };
  const msPerByte = await probeLink(connection, { timeoutMs: PROBE_TIMEOUT_MS, isWanted });
  if (msPerByte === null) return;
  // Both agents have other things to do meanwhile: the link is at least so fast.
  memory.write({ msPerByte, isMeasured: false }, Date.now());
  const fastBytesPerMs = verdict.fastBytesPerMs;
  if (fastBytesPerMs !== null) {
    memory.writeDelivered({ msPerByte: 1 / fastBytesPerMs, isMeasured: false }, Date.now());
  }
  logRate(log, { migration: request.id, peer, by: 'probe' }, memory);
}

/** What the kernel says of the connection; null when it says nothing. */
async function deliveryOf(rates: DeliveryRates, connection: ControlConnection, port: number): Promise<Delivery | null> {
  const { remoteAddress, localPort } = connection;
  if (remoteAddress === null || localPort === null) return null;
  const nothing = sleep(WORD_TIMEOUT_MS, [], { ref: false });
  const deliveries = await Promise.race([rates.to(remoteAddress, port), nothing]);
  return deliveries.find((each) => each.connection.endsWith(`:${localPort}`)) ?? null;
}

function logRate(log: Logger, whose: { migration: string; peer: string; by: string }, memory: LinkMemory): void {
  const link = memory.read(Date.now());
  if (link === null) return;
  const mbitPerS = Math.round(8 / link.msPerByte / 1000);
  const takes = `takes ${link.isMeasured ? 'about' : 'at least'} ${mbitPerS} Mbit/s`;
  log.info('migration.link', `The link to host "${whose.peer}" ${takes}`, { ...whose, mbitPerS });
}

/** Of a migration: the ports of its lanes, and where to note what is found. */
export type WatchedLanes = {
  readonly migration: string;
  readonly peer: string;
  readonly address: string;
  readonly ports: readonly number[];
  readonly memory: SharedArrayBuffer;
};

/** Asks the kernel how fast the lanes' connections deliver, until `signal`. */
export async function watchLink(
  rates: DeliveryRates,
  { migration, peer, address, ports, memory }: WatchedLanes,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const lanes = new LinkMemory(memory, ports.length);
  const samples = new LinkSamples(ports.length);
  const oftenMs = lanes.isKnownSlow(Date.now()) ? KNOWN_MS : OFTEN_MS;
  let [waitMs, isLogged] = [Math.min(FIRST_MS, oftenMs), false];
  for (;;) {
    await sleep(waitMs, undefined, { signal, ref: false }).catch(() => undefined);
    if (signal.aborted) return;
    const deliveries: Delivery[] = [];
    for (const port of new Set(ports)) deliveries.push(...(await rates.to(address, port)));
    samples.add(deliveries, performance.now());
    waitMs = samples.isSettled ? SELDOM_MS : oftenMs;
    const isGuess = lanes.delivered(Date.now())?.isMeasured === false;
    const link = samples.link ?? (isGuess ? samples.disproof : null);
    if (link === null) continue;
    lanes.writeDelivered(link, Date.now());
    if (isLogged || !(samples.isSettled || !link.isMeasured)) continue;
    isLogged = true;
    logRate(log, { migration, peer, by: 'kernel' }, new LinkMemory(memory, 1));
  }
}
