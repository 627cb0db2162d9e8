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
import { assert } from '../../core/base/assert.ts';
import { postcopyAdvise, postcopyResume, requestReceivedBitmap } from '../../core/vmstream/postcopy-writer.ts';
import { openReturnPath, ping } from '../../core/vmstream/stream-writer.ts';
import { ReturnPathReader, type ReturnPathMessage } from '../../core/vmstream/return-path.ts';
import {
  prepareDestination,
  recoverIncoming,
  startIncoming,
  waitForRunState,
} from '../../io/qemu/migration-control.ts';
import { migrationFeatures } from '../../io/qemu/migration-features.ts';
import type { QmpClient } from '../../io/qemu/qmp-client.ts';
import { runPaths } from '../../io/qemu/run-paths.ts';
import type { StandingMonitor } from '../../io/qemu/standing-monitor.ts';
import { FerryError } from './errors.ts';

const SETUP_TIMEOUT_MS = 5_000;
const LOAD_TIMEOUT_MS = 30_000;
/** QEMU announces the guest's new place five times: 50 ms after the start, then ever later, for 550 ms at most. */
const ANNOUNCE = { initial: 50, max: 550, rounds: 5, step: 100 };

/** PINGs whose PONG says how far QEMU has come: ADVISE obeyed, device state accepted. */
const ADVISED_PING = 2;
export const DEVICES_PING = 3;

export type IncomingPlace = { readonly vm: string; readonly runFolder: string };

export type IncomingHandlers = {
  /** QEMU gave its stream up before its end: long before the guest stops, or in the middle of a pull phase. */
  readonly onBroken: (error: FerryError) => void;
  /** The guest touched pages that are not there yet. */
  readonly onRequest: (request: Extract<ReturnPathMessage, { type: 'requestPages' }>) => void;
};

export class IncomingQemu {
  readonly #vm: string;
  /** Null behind a recovery: QEMU may have no time for an ordinary monitor while its guest waits for pages. */
  readonly #qmp: QmpClient | null;
  readonly #socket: Socket;
  readonly #shut = Promise.withResolvers<number>();
  readonly #handlers: IncomingHandlers;
  /** Called with every message of the return path until they say that they have heard enough. */
  readonly #listeners = new Set<(message: ReturnPathMessage) => boolean>();
  #broken: FerryError | null = null;
  #ended = false;

  /** `socket` is connected; `open` and `recover` make one. */
  constructor(vm: string, qmp: QmpClient | null, socket: Socket, handlers: IncomingHandlers) {
    this.#handlers = handlers;
    this.#vm = vm;
    this.#qmp = qmp;
    this.#socket = socket;
    this.#shut.promise.catch(() => undefined);
    const returnPath = new ReturnPathReader((message) => this.#heard(message));
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
   * Makes QEMU listen for its stream and connects to it. `pull`: the guest will run before all of its pages are here. Throws
   * QmpError, FerryError FERRY_INCOMING.
   */
  static async open(
    place: IncomingPlace,
    qmp: QmpClient,
    handlers: IncomingHandlers,
    pull: boolean,
  ): Promise<IncomingQemu> {
    const features = await migrationFeatures(qmp);
    await prepareDestination(qmp, features, pull);
    return await connectTo(place, qmp, handlers, async (path) => await startIncoming(qmp, path, features));
  }

  /**
   * A new stream for a QEMU that lost its own in a pull phase. Nothing of it needs QEMU's main loop: the order is given out of
   * band, and QEMU takes the connection in the thread that got the order. Throws QmpError unless QEMU has noticed the loss.
   */
  static async recover(
    place: IncomingPlace,
    monitor: StandingMonitor,
    handlers: IncomingHandlers,
  ): Promise<IncomingQemu> {
    return await connectTo(place, null, handlers, async (path) => await recoverIncoming(monitor, path));
  }

  /**
   * Feeds the source's setup sections. A wrong machine type or an unknown RAM block shows here, long before the stop. With
   * `pull` all of QEMU's RAM is empty afterwards, and it waits for what post-copy needs.
   */
  async loadPrologue(bytes: Uint8Array, pull: boolean): Promise<void> {
    await this.feed(bytes);
    await this.feed(openReturnPath());
    if (pull) {
      const advised = this.#hears(
        (message) => message.type === 'pong' && message.value === ADVISED_PING,
        'obey ADVISE',
      );
      await this.feed(postcopyAdvise());
      await this.feed(ping(ADVISED_PING));
      await advised;
    }
    await this.#assertWaiting();
  }

  /** Writes a piece of the stream; waits while QEMU's socket is full. */
  async feed(bytes: Uint8Array): Promise<void> {
    if (this.#broken !== null) throw this.#broken;
    const { promise, resolve } = Promise.withResolvers<void>();
    if (this.#socket.write(bytes, () => resolve())) return;
    await Promise.race([promise, this.#shut.promise.then(() => undefined)]);
  }

  /** Writes a piece of the stream; fulfilled when the kernel has it. */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.#broken !== null) throw this.#broken;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#socket.write(bytes, (error) => (error ? reject(error) : resolve()));
    await promise;
  }

  /** With a pull phase: waits until the device state is accepted and the guest is paused, ready to run. */
  async accepted(): Promise<void> {
    try {
      await this.#hears(
        (message) => message.type === 'pong' && message.value === DEVICES_PING,
        'load its device state',
      );
    } catch (error) {
      throw await this.#explain(error);
    }
    // RUN takes effect in QEMU's main loop, a little after the PONG before it.
    await waitForRunState(this.#monitor(), ['paused'], { timeoutMs: SETUP_TIMEOUT_MS });
  }

  /** With a pull phase: QEMU has taken END, no page is missing. Throws FerryError. */
  async ended(): Promise<void> {
    const value = await this.#shut.promise;
    if (value !== 0) throw new FerryError('FERRY_INCOMING', `QEMU of VM "${this.#vm}" did not get all pages`);
  }

  /** After `recover`: pages of a block that came over a stream, as a bitmap, lowest bit first. Throws FerryError. */
  async receivedBitmap(block: string): Promise<Uint8Array> {
    let bitmap = new Uint8Array(0);
    const heard = this.#hears((message) => {
      if (message.type !== 'receivedBitmap' || message.block !== block) return false;
      bitmap = message.bitmap;
      return true;
    }, 'tell which pages it has');
    await this.write(requestReceivedBitmap(block));
    await heard;
    return bitmap;
  }

  /** After `recover`: the guest goes on. QEMU repeats the requests that were not answered. Throws FerryError. */
  async resume(): Promise<void> {
    const heard = this.#hears((message) => message.type === 'resumeAck', 'go on');
    await this.write(postcopyResume());
    await heard;
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
    const state = await this.#monitor().runState();
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

  #monitor(): QmpClient {
    assert(this.#qmp !== null, 'a recovered stream asks nothing of the monitor');
    return this.#qmp;
  }

  #heard(message: ReturnPathMessage): void {
    if (message.type === 'requestPages') this.#handlers.onRequest(message);
    for (const listener of this.#listeners) if (listener(message)) this.#listeners.delete(listener);
    if (message.type !== 'shut') return;
    this.#ended = true;
    this.#shut.resolve(message.value);
  }

  /** Fulfilled when QEMU has said it. Throws FerryError when it does not in time, or gives up. */
  async #hears(isIt: (message: ReturnPathMessage) => boolean, what: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const listener = (message: ReturnPathMessage): boolean => {
      const said = isIt(message);
      if (said) resolve();
      return said;
    };
    this.#listeners.add(listener);
    const timer = setTimeout(() => {
      reject(new FerryError('FERRY_INCOMING', `The incoming QEMU of VM "${this.#vm}" did not ${what} in time`));
    }, LOAD_TIMEOUT_MS);
    try {
      await Promise.race([promise, this.#shut.promise.then(() => Promise.reject(this.#gaveUp()))]);
    } finally {
      clearTimeout(timer);
      this.#listeners.delete(listener);
    }
  }

  #gaveUp(): FerryError {
    return new FerryError('FERRY_INCOMING', `The incoming QEMU of VM "${this.#vm}" gave up`);
  }

  /** QEMU reports errors of the setup sections by ending; an answering monitor in `inmigrate` means that it waits. */
  async #assertWaiting(): Promise<void> {
    const state = await this.#monitor().runState({ timeoutMs: SETUP_TIMEOUT_MS });
    if (this.#broken !== null) throw this.#broken;
    if (state !== 'inmigrate') {
      throw new FerryError('FERRY_INCOMING', `The incoming QEMU of VM "${this.#vm}" is "${state}" instead of waiting`);
    }
  }

  /** A QEMU that survived a failed load (9.1 and later) says what was wrong with it. */
  async #explain(error: unknown): Promise<FerryError> {
    if (this.#qmp === null) return asFerryError(error);
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
    if (!this.#ended) void this.#explain(error).then((reason) => this.#handlers.onBroken(reason));
  }
}

async function connectTo(
  { vm, runFolder }: IncomingPlace,
  qmp: QmpClient | null,
  handlers: IncomingHandlers,
  listen: (path: string) => Promise<void>,
): Promise<IncomingQemu> {
  const path = runPaths(runFolder).migrationSocket;
  rmSync(path, { force: true });
  await listen(path);
  const socket = createConnection(path);
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(SETUP_TIMEOUT_MS) });
  } catch (cause) {
    socket.destroy();
    const text = `The incoming QEMU of VM "${vm}" does not take its stream`;
    throw new FerryError('FERRY_INCOMING', text, { vm }, { cause });
  }
  rmSync(path, { force: true });
  return new IncomingQemu(vm, qmp, socket, handlers);
}

/** Starts a loaded guest. Idempotent: a guest that already runs stays as it is. Throws QmpError. */
export async function startGuest(qmp: QmpClient): Promise<void> {
  if ((await qmp.runState()) !== 'running') await qmp.execute('cont');
}

/** Lets the guest's network cards tell where it is now. Throws QmpError. */
export async function announceGuest(qmp: QmpClient): Promise<void> {
  await qmp.execute('announce-self', ANNOUNCE);
}

function asFerryError(error: unknown): FerryError {
  if (error instanceof FerryError) return error;
  return new FerryError('FERRY_INCOMING', 'The incoming QEMU failed', {}, { cause: error });
}
