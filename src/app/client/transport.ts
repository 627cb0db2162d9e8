/** How requests reach an agent: a port, so that the client runs over a unix socket, TLS or a browser's fetch. */
export type TransportRequest = {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  /** JSON text, or null for none. */
  readonly body: string | null;
  /** Until the answer begins; 0 = no limit. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
};

export type TransportAnswer = {
  readonly status: number;
  /** The body in pieces as they arrive; it may be read once. */
  readonly body: AsyncIterable<Uint8Array>;
};

/** Throws ClientError. */
export type Transport = {
  request(request: TransportRequest): Promise<TransportAnswer>;
  close(): Promise<void>;
};
