/** What a client that loads a guest saw, since it was asked last. */
export type LatencyMs = {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
};

type LoadReport = {
  /** Connections that ended without this client's doing; it connects again. */
  readonly lostConnections: number;
  /** Longest time between two answers, on whatever connection. */
  readonly longestGapMs: number;
  /** Of answered requests; null where there was none. */
  readonly latencyMs: LatencyMs | null;
};

export type WebReport = LoadReport & {
  /** Answered as they must be. */
  readonly requests: number;
  /** No answer, another status than 200, or other content than that file had before. */
  readonly failedRequests: number;
};

export type RedisReport = LoadReport & {
  /** Acknowledged by the server. */
  readonly writes: number;
  readonly reads: number;
  /** Answers that were not a value that could be there: older than an acknowledged write, never written, an error. */
  readonly wrongAnswers: number;
  /** Only of `finish()`: every key read back at the end, and those of them that had lost an acknowledged write. */
  readonly readBack: { readonly keys: number; readonly lostWrites: number } | null;
};

/** What the parent of a client's process asks it. */
export type LoadQuestion = 'take' | 'finish';
