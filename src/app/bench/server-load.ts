/** A client of the server that a guest is, on host a, from before the move until after it: what it lost, and what was wrong. */
import type { LabHostPlan } from '../lab/plan.ts';
import { startRedisLoad, startWebLoad } from '../load/load-process.ts';
import { WrkLoad } from '../load/wrk.ts';

export type ServerKind = 'web' | 'wrk' | 'redis';

export type ServerReport = {
  /** Answered as they must be. */
  readonly requests: number;
  /** Not answered, or otherwise than they must be; acknowledged writes that are gone. */
  readonly failures: number;
  readonly lostConnections: number;
  /** Longest time between two answers; of `wrk` the longest that one took. */
  readonly longestGapMs: number;
};

/** Some fifth of what these servers can do in software emulation, so that the guest is busy and its client is not the load. */
const WEB_REQUESTS_PER_S = 200;
const REDIS_COMMANDS_PER_S = 400;
const WRK_CONNECTIONS = 8;

/** What it saw since it was asked last; at the end it checks what it can. */
export type ServerClient = {
  readonly take: () => Promise<ServerReport>;
  readonly finish: () => Promise<ServerReport>;
  readonly stop: () => void;
};

/** Throws LabError LAB_COMMAND where the server does not answer. */
export async function startServerClient(host: LabHostPlan, address: string, kind: ServerKind): Promise<ServerClient> {
  if (kind === 'wrk') return wrkClient(host, address);
  return kind === 'web' ? await webClient(host, address) : await redisClient(host, address);
}

/** It begins with the first question: what wrk saw it says once, at its end. Throws LabError LAB_COMMAND there. */
function wrkClient(host: LabHostPlan, address: string): ServerClient {
  let load: WrkLoad | null = null;
  const nothing = { requests: 0, failures: 0, lostConnections: 0, longestGapMs: 0 };
  return {
    take: async () => {
      load ??= new WrkLoad(host, { url: `http://${address}/small-0`, connections: WRK_CONNECTIONS });
      return await Promise.resolve(nothing);
    },
    finish: async () => {
      if (load === null) return nothing;
      const { requests, failedRequests, lostConnections, longestLatencyMs } = await load.finish();
      return { requests, failures: failedRequests, lostConnections, longestGapMs: longestLatencyMs };
    },
    stop: () => load?.stop(),
  };
}

async function webClient(host: LabHostPlan, address: string): Promise<ServerClient> {
  const load = await startWebLoad(host, { address, requestsPerS: WEB_REQUESTS_PER_S });
  const ask = async (what: 'take' | 'finish'): Promise<ServerReport> => {
    const { requests, failedRequests, lostConnections, longestGapMs } = await load[what]();
    return { requests, failures: failedRequests, lostConnections, longestGapMs };
  };
  return { take: async () => await ask('take'), finish: async () => await ask('finish'), stop: () => load.stop() };
}

async function redisClient(host: LabHostPlan, address: string): Promise<ServerClient> {
  const load = await startRedisLoad(host, { address, commandsPerS: REDIS_COMMANDS_PER_S });
  const ask = async (what: 'take' | 'finish'): Promise<ServerReport> => {
    const { writes, reads, wrongAnswers, lostConnections, longestGapMs, readBack } = await load[what]();
    const failures = wrongAnswers + (readBack?.lostWrites ?? 0);
    return { requests: writes + reads, failures, lostConnections, longestGapMs };
  };
  return { take: async () => await ask('take'), finish: async () => await ask('finish'), stop: () => load.stop() };
}
