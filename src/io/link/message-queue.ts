/**
 * Who gets a message that has arrived: an `expect` that waits for its type, the handler, or the inbox.
 *
 * Invariant: the inbox is empty while a handler is set, and no waiter waits for a type that is in the inbox.
 */
import type { ReceivedMessage } from '../../core/wire/control-codec.ts';
import { LinkError } from './errors.ts';

/** What may wait in the inbox before reading stops. */
const INBOX_MESSAGES_MAX = 64;
const INBOX_BYTES_MAX = 8 * 1024 * 1024;

type Waiter = {
  readonly types: readonly string[];
  readonly resolve: (received: ReceivedMessage) => void;
  readonly reject: (error: Error) => void;
};

export class MessageQueue {
  readonly #peerName: string;
  readonly #onFull: (full: boolean) => void;
  readonly #waiters = new Set<Waiter>();
  #inbox: ReceivedMessage[] = [];
  #inboxBytes = 0;
  #full = false;
  #handler: ((received: ReceivedMessage) => void) | null = null;
  #closed: LinkError | null = null;

  constructor(peerName: string, onFull: (full: boolean) => void) {
    this.#peerName = peerName;
    this.#onFull = onFull;
  }

  deliver(received: ReceivedMessage): void {
    const { message } = received;
    for (const waiter of this.#waiters) {
      if (!waiter.types.includes(message.type)) continue;
      waiter.resolve(received);
      return;
    }
    // `failed` is for whoever waits. Any other message that nobody else takes will never fit: that is an error as well.
    const rejecting = this.#waiters.size > 0 && (message.type === 'failed' || this.#handler === null);
    if (rejecting) {
      for (const waiter of this.#waiters) waiter.reject(this.#misfit(received, waiter.types));
    } else if (this.#handler !== null) {
      this.#handler(received);
    } else {
      this.#inbox.push(received);
      this.#count(received, 1);
    }
  }

  setHandler(handler: (received: ReceivedMessage) => void): void {
    this.#handler = handler;
    for (let next = this.#shift(); next !== undefined; next = this.#shift()) handler(next);
  }

  async take(
    types: readonly string[],
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
  ): Promise<ReceivedMessage> {
    const first = this.#shift();
    if (first !== undefined) {
      if (types.includes(first.message.type)) return first;
      throw this.#misfit(first, types);
    }
    if (this.#closed !== null) throw this.#closed;
    return await this.#wait(types, options);
  }

  close(reason: LinkError): void {
    this.#closed = reason;
    for (const waiter of this.#waiters) waiter.reject(reason);
  }

  #wait(
    types: readonly string[],
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
  ): Promise<ReceivedMessage> {
    const { timeoutMs, signal } = options;
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', cancel);
        this.#waiters.delete(waiter);
      };
      const waiter: Waiter = {
        types,
        resolve: (received) => {
          settle();
          resolve(received);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      };
      const cancel = (): void =>
        waiter.reject(new LinkError('LINK_CANCELLED', `Waiting for ${this.#peerName} was cancelled`));
      const timer = setTimeout(() => {
        const message = `${this.#peerName} did not send ${types.join(' or ')} within ${timeoutMs} ms`;
        waiter.reject(new LinkError('LINK_TIMEOUT', message, { peer: this.#peerName, timeoutMs }));
      }, timeoutMs);
      this.#waiters.add(waiter);
      if (signal?.aborted === true) cancel();
      else signal?.addEventListener('abort', cancel);
    });
  }

  #misfit({ message }: ReceivedMessage, types: readonly string[]): LinkError {
    const peer = this.#peerName;
    if (message.type === 'failed') {
      const fields = { peer, peerCode: message.code, guest: message.guest };
      return new LinkError('LINK_PEER_FAILED', `${peer}: ${message.message}`, fields);
    }
    const text = `${peer} sent ${message.type} where ${types.join(' or ')} was expected`;
    return new LinkError('LINK_PROTOCOL', text, { peer, actual: message.type });
  }

  #shift(): ReceivedMessage | undefined {
    const first = this.#inbox.shift();
    if (first !== undefined) this.#count(first, -1);
    return first;
  }

  #count(received: ReceivedMessage, sign: 1 | -1): void {
    this.#inboxBytes += sign * (received.attachment?.length ?? 0);
    const full = this.#inbox.length >= INBOX_MESSAGES_MAX || this.#inboxBytes >= INBOX_BYTES_MAX;
    if (full === this.#full) return;
    this.#full = full;
    this.#onFull(full);
  }
}
