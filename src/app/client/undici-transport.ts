/** Requests with undici, whatever the connection: what goes wrong, also in the middle of an answer, becomes a ClientError. */
import type { Agent } from 'undici';
import type { ClientError } from './errors.ts';
import type { Transport } from './transport.ts';

export type UndiciTransportOptions = {
  readonly agent: Agent;
  readonly origin: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly errorOf: (cause: unknown, signal: AbortSignal | undefined) => ClientError;
  /** Before the agent is destroyed. */
  readonly onClose?: () => void;
};

export function undiciTransport({ agent, origin, headers = {}, errorOf, onClose }: UndiciTransportOptions): Transport {
  return {
    request: async ({ method, path, body, timeoutMs, signal }) => {
      const fail = (cause: unknown): ClientError => errorOf(cause, signal);
      try {
        const answer = await agent.request({
          ...{ origin, method, path, body },
          headers: { ...headers, ...(body === null ? {} : { 'content-type': 'application/json' }) },
          headersTimeout: timeoutMs,
          signal: signal ?? null,
        });
        return { status: answer.statusCode, body: readBody(answer.body, fail) };
      } catch (error) {
        throw fail(error);
      }
    },
    close: async () => {
      onClose?.();
      await agent.destroy();
    },
  };
}

async function* readBody(
  body: AsyncIterable<Uint8Array>,
  fail: (cause: unknown) => ClientError,
): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (error) {
    throw fail(error);
  }
}
