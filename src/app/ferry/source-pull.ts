/**
 * The source's side of the pull phase as its session sees it: a page server made when the first request comes, for
 * whatever connection it comes over, and only while the guest is stopped.
 */
import type { CompressMode } from '../../core/model/migration.ts';
import type { MessageOf } from '../../core/wire/control-messages.ts';
import type { ControlConnection } from '../../io/link/control-connection.ts';
import { describeError } from '../../core/base/errors.ts';
import { memoryMap, type GuestRam } from './guest-ram.ts';
import { PageServer, type ServedCounts } from './page-server.ts';

export type SourcePullParts = {
  readonly compress: CompressMode;
  /** Of pages that the guest does not wait for; null = as fast as the link. */
  readonly maxBandwidthBytesPerSecond: number | null;
  /** Where the guest's memory is; asked once. */
  readonly ram: () => Promise<GuestRam>;
  /** The guest is stopped here, and stays so: before, the content of its pages is not final. */
  readonly isStopped: () => boolean;
  readonly served: (counts: ServedCounts) => void;
  readonly failed: (error: unknown) => void;
};

export class SourcePull {
  readonly #parts: SourcePullParts;
  #server: Promise<PageServer> | null = null;

  constructor(parts: SourcePullParts) {
    this.#parts = parts;
  }

  /** Answers a request. A connection over which that cannot be done is ended. */
  async serve(connection: ControlConnection, message: MessageOf<'pull'>, attachment: Uint8Array): Promise<void> {
    try {
      this.#server ??= this.#open();
      const server = await this.#server;
      server.answer(connection, message, attachment);
      this.#parts.served(server.counts);
    } catch (error) {
      this.#server = null;
      this.#parts.failed(error);
      await connection.fail('PULL', describeError(error));
    }
  }

  async close(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    (await server?.catch(() => null))?.close();
  }

  async #open(): Promise<PageServer> {
    const { ram, isStopped, compress, maxBandwidthBytesPerSecond } = this.#parts;
    if (!isStopped()) throw new Error('The destination asked for pages of a guest that is not stopped');
    const found = await ram();
    return new PageServer(memoryMap(found, found.blocks, found.reachable), { compress, maxBandwidthBytesPerSecond });
  }
}
