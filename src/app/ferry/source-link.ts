/**
 * The source's line to the destination's agent: one connection at a time, dialled anew where the transaction says so.
 *
 * Losing it before the commit ends the migration; after the commit it is made again until COMMIT has been heard.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../core/base/errors.ts';
import type { Cause, QueryAnswer } from '../../core/machine/source-states.ts';
import type { CpuMs } from '../../core/model/migration.ts';
import { attachmentChunks, epilogueMessages } from '../../core/wire/control-codec.ts';
import type { MessageOf } from '../../core/wire/control-messages.ts';
import { encodePullRuns, PULL_RUNS_MAX } from '../../core/wire/pull-codec.ts';
import type { ControlConnection, Received } from '../../io/link/control-connection.ts';
import type { Logger } from '../../io/log/logger.ts';
import type { FerryHost, Peer } from './ports.ts';
import type { PullSet } from './pump-protocol.ts';
import { dialDestination } from './reservation.ts';

const RETRY_MS = 1_000;
const ACTIVE_TIMEOUT_MS = 15_000;
const RELEASED_TIMEOUT_MS = 2_000;
const PREPARED_TIMEOUT_MS = 60_000;

export type SourceLinkEvents = {
  /** The connection ended, or nothing was heard for too long. */
  readonly silent: (reason: string) => void;
  /** The destination says that it failed. */
  readonly failed: (reason: string) => void;
  /** The destination wants pages. */
  readonly pull: (connection: ControlConnection, message: MessageOf<'pull'>, attachment: Uint8Array) => void;
  /** The destination says, without having been asked, what has become of the guest. */
  readonly told: (message: MessageOf<'active'> | MessageOf<'gone'>) => void;
  /** What a destination that asks for the outcome is told. */
  readonly answer: () => QueryAnswer;
};

export class SourceLink {
  readonly #migrationId: string;
  readonly #host: FerryHost;
  readonly #peer: Peer;
  readonly #stallTimeoutMs: number;
  readonly #events: SourceLinkEvents;
  #connection: ControlConnection | null = null;

  constructor(
    migration: { readonly id: string; readonly destination: Peer; readonly stallTimeoutMs: number },
    host: FerryHost,
    events: SourceLinkEvents,
  ) {
    this.#migrationId = migration.id;
    this.#peer = migration.destination;
    this.#stallTimeoutMs = migration.stallTimeoutMs;
    this.#host = host;
    this.#events = events;
  }

  get isOpen(): boolean {
    return this.#connection !== null && this.#connection.closedReason === null;
  }

  get rttMs(): number {
    return this.#connection?.rttMs ?? 0;
  }

  /** The open connection, or a new one. Throws LinkError. */
  async connection(signal?: AbortSignal): Promise<ControlConnection> {
    if (this.#connection !== null && this.#connection.closedReason === null) return this.#connection;
    const connection = await dialDestination(this.#host, this.#peer, signal);
    this.#connection = connection;
    this.#watch(connection);
    return connection;
  }

  /** Sends the end of the stream and waits until the destination is prepared. Throws LinkError. */
  async sendEpilogue(epilogue: Uint8Array, pull: PullSet | null, signal: AbortSignal): Promise<void> {
    const connection = await this.connection(signal);
    if (pull !== null) await sendPullSet(connection, pull);
    for (const { message, attachment } of epilogueMessages(epilogue)) await connection.send(message, attachment);
    await connection.expect(['prepared'], { timeoutMs: PREPARED_TIMEOUT_MS, signal });
  }

  /** Tells COMMIT, over as many connections as it takes, until the answer comes or nobody wants it any more. */
  async tellCommit(isWanted: () => boolean, log: Logger): Promise<Received<'active' | 'gone'>['message'] | null> {
    while (isWanted()) {
      try {
        const connection = await this.connection();
        await connection.send({ type: 'commit', migrationId: this.#migrationId });
        return (await connection.expect(['active', 'gone'], { timeoutMs: ACTIVE_TIMEOUT_MS })).message;
      } catch (error) {
        log.warn('migration.commit', describeError(error), { migration: this.#migrationId });
        await sleep(RETRY_MS);
      }
    }
    return null;
  }

  /** Best effort: a destination that misses it asks. */
  tellAbort({ code, reason }: Cause): void {
    this.#connection?.post({ type: 'abort', migrationId: this.#migrationId, code, reason });
  }

  tellDone(): void {
    this.#connection?.post({ type: 'done', migrationId: this.#migrationId });
  }

  answer(outcome: QueryAnswer): void {
    this.#connection?.post({ type: 'outcome', outcome });
  }

  /** After DONE: what the destination spent; null when it does not say. */
  async released(): Promise<CpuMs | null> {
    try {
      const received = await this.#connection?.expect(['released'], { timeoutMs: RELEASED_TIMEOUT_MS });
      if (received === undefined) return null;
      return { agent: received.message.agentCpuMs, qemu: received.message.qemuCpuMs };
    } catch {
      return null;
    }
  }

  /** Lets go of a connection that has gone silent, so that a new one is made. */
  drop(): void {
    const connection = this.#connection;
    this.#connection = null;
    void connection?.close();
  }

  async close(): Promise<void> {
    const connection = this.#connection;
    this.#connection = null;
    await connection?.close();
  }

  #watch(connection: ControlConnection): void {
    connection.onMessage((message, attachment) => {
      if (message.type === 'query') connection.post({ type: 'outcome', outcome: this.#events.answer() });
      if (message.type === 'failed') this.#events.failed(message.message);
      if (message.type === 'pull' && attachment !== null) this.#events.pull(connection, message, attachment);
      if (message.type === 'active' || message.type === 'gone') this.#events.told(message);
    });
    connection.onStalled(this.#stallTimeoutMs, (silentMs) => {
      this.#events.silent(`Nothing was heard of host "${this.#peer.name}" for ${Math.round(silentMs)} ms`);
    });
    void connection.closed.then((reason) => {
      if (this.#connection === connection) this.#events.silent(reason.message);
    });
  }
}

/** Pages that are left, and the bytes that QEMU gets before it is told so. Throws LinkError. */
async function sendPullSet(connection: ControlConnection, pull: PullSet): Promise<void> {
  for (const chunk of attachmentChunks(pull.beforeDiscards)) await connection.send({ type: 'sidePart' }, chunk);
  const { runs, ramSectionId } = pull;
  let at = 0;
  do {
    const part = runs.subarray(at, at + PULL_RUNS_MAX * 2);
    at += part.length;
    await connection.send({ type: 'pullPages', ramSectionId, last: at >= runs.length }, encodePullRuns(part));
  } while (at < runs.length);
}
