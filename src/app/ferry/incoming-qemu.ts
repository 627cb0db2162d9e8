/**
 * The QEMU that receives a guest: fed with a legal migration stream that carries no RAM.
 *
 * It was started with `-incoming defer -S`, so nothing that it loads can run by itself. RAM is placed from outside
 * while this QEMU waits in the middle of its stream; it does not look at its memory before the device sections come
 * (docs/qemu-stream.md 7, "Writing the DESTINATION directly works").
 *
 * Image locks: with the capability late-block-activate neither the load nor `-S` takes them; only `cont` does. Until
 * the commit the source can therefore always take its disks back.
 */
import { createConnection, type Socket } from 'node:net';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { openReturnPath } from '../../core/vmstream/stream-writer.ts';
import { ReturnPathReader } from '../../core/vmstream/return-path.ts';
import { prepareDestination, startIncoming } from '../../io/qemu/migration-control.ts';
import { migrationFeatures } from '../../io/qemu/migration-features.ts';
import type { QmpClient } from '../../io/qemu/qmp-client.ts';
import { runPaths } from '../../io/qemu/run-paths.ts';
import { FerryError } from './errors.ts';

const SETUP_TIMEOUT_MS = 5_000;
const LOAD_TIMEOUT_MS = 30_000;
/** QEMU announces the guest's new place five times: 50 ms after the start, then ever later, for 550 ms at most. */
const ANNOUNCE = { initial: 50, max: 550, rounds: 5, step: 100 };

export type IncomingPlace = { readonly vm: string; readonly runFolder: string };

export class IncomingQemu {
  readonly #vm: string;
  readonly #qmp: QmpClient;
  readonly #socket: Socket;
  readonly #shut = Promise.withResolvers<number>();
  readonly #onBroken: (error: FerryError) => void;
  #broken: FerryError | null = null;
  #ended = false;

  private constructor(vm: string, qmp: QmpClient, socket: Socket, onBroken: (error: FerryError) => void) {
    this.#onBroken = onBroken;
    this.#vm = vm;
    this.#qmp = qmp;
    this.#socket = socket;
    this.#shut.promise.catch(() => undefined);
    const returnPath = new ReturnPathReader((message) => {
      if (message.type !== 'shut') return;
      this.#ended = true;
      this.#shut.resolve(message.value);
    });
    socket.on('data', (chunk) => {
      try {
        returnPath.push(chunk);
      } catch (cause) {
        this.#fail('sent an unknown message on its return path', cause);
      }
    });
    socket.on('error', (cause) => this.#fail('closed its migration socket', cause));
    socket.on('close', () => this.#fail('closed its migration socket'));
  }

  /**
   * Makes QEMU listen for its stream and connects to it. `onBroken` is called when QEMU gives the stream up before its
   * end: at once, long before the guest stops. Throws QmpError, FerryError FERRY_INCOMING.
   */
  static async open(
    place: IncomingPlace,
    qmp: QmpClient,
    onBroken: (error: FerryError) => void,
  ): Promise<IncomingQemu> {
    const { vm, runFolder } = place;
    const path = runPaths(runFolder).migrationSocket;
    rmSync(path, { force: true });
    const features = await migrationFeatures(qmp);
    await prepareDestination(qmp, features);
    await startIncoming(qmp, path, features);
    const socket = createConnection(path);
    try {
      await once(socket, 'connect', { signal: AbortSignal.timeout(SETUP_TIMEOUT_MS) });
    } catch (cause) {
      socket.destroy();
      throw new FerryError(
        'FERRY_INCOMING',
        `The incoming QEMU of VM "${vm}" does not take its stream`,
        { vm },
        { cause },
      );
    }
    rmSync(path, { force: true });
    return new IncomingQemu(vm, qmp, socket, onBroken);
  }

  /** Feeds the source's setup sections. A wrong machine type or an unknown RAM block shows here, long before the stop. */
  async loadPrologue(bytes: Uint8Array): Promise<void> {
    await this.feed(bytes);
    await this.feed(openReturnPath());
    await this.#assertWaiting();
  }

  /** Writes a piece of the stream; waits while QEMU's socket is full. */
  async feed(bytes: Uint8Array): Promise<void> {
    if (this.#broken !== null) throw this.#broken;
    const { promise, resolve } = Promise.withResolvers<void>();
    if (this.#socket.write(bytes, () => resolve())) return;
    await Promise.race([promise, this.#shut.promise.then(() => undefined)]);
  }

  /** Waits until everything is loaded: QEMU says SHUT(0) after the last device. Returns the run state, `paused`. */
  async loaded(): Promise<void> {
    const timer = setTimeout(() => this.#fail(`did not load its state within ${LOAD_TIMEOUT_MS} ms`), LOAD_TIMEOUT_MS);
    try {
      const value = await this.#shut.promise;
      if (value !== 0) throw new FerryError('FERRY_INCOMING', `QEMU of VM "${this.#vm}" refused the guest's state`);
    } catch (error) {
      throw await this.#explain(error);
    } finally {
      clearTimeout(timer);
    }
    const state = await this.#qmp.runState();
    if (state !== 'paused') {
      throw new FerryError(
        'FERRY_INCOMING',
        `The incoming QEMU of VM "${this.#vm}" is "${state}" after loading, expected "paused"`,
      );
    }
  }

  close(): void {
    this.#broken ??= new FerryError('FERRY_INCOMING', `The stream to VM "${this.#vm}" was closed`);
    this.#socket.destroy();
  }

  /** QEMU reports errors of the setup sections by ending; an answering monitor in `inmigrate` means that it waits. */
  async #assertWaiting(): Promise<void> {
    const state = await this.#qmp.runState({ timeoutMs: SETUP_TIMEOUT_MS });
    if (this.#broken !== null) throw this.#broken;
    if (state !== 'inmigrate') {
      throw new FerryError('FERRY_INCOMING', `The incoming QEMU of VM "${this.#vm}" is "${state}" instead of waiting`);
    }
  }

  /** A QEMU that survived a failed load (9.1 and later) says what was wrong with it. */
  async #explain(error: unknown): Promise<FerryError> {
    try {
      const reason = (await this.#qmp.execute('query-migrate'))['error-desc'];
      if (reason === undefined) return asFerryError(error);
      return new FerryError('FERRY_INCOMING', `The incoming QEMU of VM "${this.#vm}" says: ${reason}`);
    } catch {
      return asFerryError(error);
    }
  }

  #fail(what: string, cause?: unknown): void {
    const error = new FerryError(
      'FERRY_INCOMING',
      `The incoming QEMU of VM "${this.#vm}" ${what}`,
      { vm: this.#vm },
      cause === undefined ? {} : { cause },
    );
    if (this.#broken !== null) return;
    this.#broken = error;
    this.#shut.reject(error);
    if (!this.#ended) void this.#explain(error).then((reason) => this.#onBroken(reason));
  }
}

/** Starts a loaded guest. Idempotent: a guest that already runs stays as it is. Throws QmpError. */
export async function startGuest(qmp: QmpClient): Promise<void> {
  if ((await qmp.runState()) !== 'running') await qmp.execute('cont');
  await qmp.execute('announce-self', ANNOUNCE);
}

function asFerryError(error: unknown): FerryError {
  if (error instanceof FerryError) return error;
  return new FerryError('FERRY_INCOMING', 'The incoming QEMU failed', {}, { cause: error });
}
