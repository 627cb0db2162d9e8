/**
 * How fast the link to a peer is: some bytes are sent over the control connection, the peer says how fast they arrived.
 *
 *     source                                  destination
 *       probe(last: false) 64 KiB  ──────▶
 *       ...
 *       probe(last: true)  64 KiB  ──────▶
 *                                  ◀──────    probed(bytes, ms)   of the second half
 *
 * Two clocks, because either may be wrong on a busy host. The peer's is about the second half, because a shaper lets the first bytes
 * after a silence through faster than the rest; but a peer that was late to look finds everything there at once. Ours, from the
 * first byte to the answer, holds every delay on the way, and never says more than there is but for that first burst. The slower of
 * the two counts, and of several probes the fastest. What is found is the link or what the two agents can take, whichever is less.
 */
import { randomFillSync } from 'node:crypto';
import type { MessageOf } from '../../core/wire/control-messages.ts';
import type { ControlConnection, ExpectOptions } from './control-connection.ts';
import { LinkError } from './errors.ts';

export type ProbeOptions = ExpectOptions & {
  /** Asked after each probe: whether another one is wanted, whatever the clocks at both ends say; null where these are to decide. */
  readonly isWanted?: () => Promise<boolean | null>;
};

/** In the features of a hello: this side answers `probe`. */
export const PROBE_FEATURE = 'probe';

const CHUNK_BYTES = 64 * 1024;
const FIRST_BYTES = 256 * 1024;
/** Then, where the first did not take long: longer than the burst that a shaper lets through. */
const NEXT_BYTES = 512 * 1024;
/** On a fast link the two agents are what is slow, until their code has been compiled: as long as it gets faster, but not for ever. */
const FASTER = 0.9;
const IN_VAIN_MAX = 2;
const PROBES_MAX = 8;
/** 20 Mbit/s: a second probe would take longer than it is worth. */
const SLOW_MS_PER_BYTE = 4e-4;
/** 400 Mbit/s: each probe takes some 10 ms, which a busy host easily doubles. */
const FAST_MS_PER_BYTE = 2e-5;
/** Clocks and event loops are not finer. */
const SHORTEST_MS = 0.05;
/** A link that seems so many times slower than it was: a probe on a busy host now and then finds a quarter of it. */
const DOUBTFUL = 2;
/** A peer may send more, and gets a coarser answer. */
const ARRIVALS_MAX = 64;

/** Milliseconds per byte; null when the peer does not answer probes, or not in time. Never throws. */
export async function probeLink(connection: ControlConnection, options: ProbeOptions): Promise<number | null> {
  if (!connection.peerHello.features.includes(PROBE_FEATURE)) return null;
  try {
    const first = await probeOnce(connection, FIRST_BYTES, options);
    if (first > SLOW_MS_PER_BYTE) return first;
    let fastest: number | null = null;
    for (let inVain = 0, i = 0; i < PROBES_MAX; i++) {
      const isEnough = i > 0 && (first > FAST_MS_PER_BYTE || inVain >= IN_VAIN_MAX);
      if (!((await options.isWanted?.()) ?? !isEnough)) break;
      const next = await probeOnce(connection, NEXT_BYTES, options);
      inVain = fastest === null || next < FASTER * fastest ? 0 : inVain + 1;
      fastest = Math.min(fastest ?? Infinity, next);
    }
    return fastest ?? first;
  } catch (error) {
    // Whoever uses the connection next hears of its end.
    if (error instanceof LinkError) return null;
    throw error;
  } finally {
    // Pings beside it measured the queue.
    connection.renewRtt();
  }
}

/**
 * `probeLink` of a link that is known: a probe that finds much less than was there before is made again, and the faster one counts, as
 * among the probes of one. `knownMsPerByte`: null when nothing is known.
 */
export async function probeKnownLink(
  connection: ControlConnection,
  knownMsPerByte: number | null,
  options: ExpectOptions,
): Promise<number | null> {
  const first = await probeLink(connection, options);
  if (first === null || knownMsPerByte === null || first < DOUBTFUL * knownMsPerByte) return first;
  return Math.min(first, (await probeLink(connection, options)) ?? first);
}

async function probeOnce(connection: ControlConnection, bytes: number, options: ExpectOptions): Promise<number> {
  const chunk = randomFillSync(new Uint8Array(CHUNK_BYTES));
  const startMs = performance.now();
  const answer = connection.expect(['probed'], options);
  answer.catch(() => undefined);
  for (let sent = CHUNK_BYTES; sent <= bytes; sent += CHUNK_BYTES) {
    await connection.send({ type: 'probe', last: sent === bytes }, chunk);
  }
  const { message } = await answer;
  const ownMsPerByte = (performance.now() - startMs) / bytes;
  return Math.max(ownMsPerByte, Math.max(message.ms, SHORTEST_MS) / Math.max(message.bytes, 1));
}

/** The answering side: when the bytes of the probe under way arrived. */
export class ProbeMeter {
  readonly #arrivals: { bytes: number; ms: number }[] = [];
  #bytes = 0;

  /** Returns the answer to the last piece of a probe. */
  received(last: boolean, bytes: number, nowMs: number): MessageOf<'probed'> | null {
    this.#bytes += bytes;
    if (this.#arrivals.length < ARRIVALS_MAX || last) this.#arrivals.push({ bytes: this.#bytes, ms: nowMs });
    if (!last) return null;
    const total = this.#bytes;
    const half = this.#arrivals.find((each) => each.bytes >= total / 2);
    this.#arrivals.length = 0;
    this.#bytes = 0;
    return half === undefined ? null : { type: 'probed', bytes: total - half.bytes, ms: Math.max(0, nowMs - half.ms) };
  }
}
