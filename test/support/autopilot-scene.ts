/** What the end-to-end tests of the autopilot share: hosts of 2 cores, busy guests, minutes that are seconds, and waiting. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentClient } from '../../src/app/client/agent-client.ts';
import type { AutopilotLogEntry, AutopilotStatus } from '../../src/core/model/autopilot.ts';
import type { HostName, LabHosts } from './lab-hosts.ts';

/**
 * A guest that computes uses nearly one core under software emulation: of 2, one of them is below the low mark, two are
 * above the threshold.
 */
export const CORES = 2;

/** Between two guests that compute (0.6 to 1 core each on two shared processors) and one. */
export const quick = {
  ...{ thresholdShare: 0.58, lowShare: 0.55, sustainMs: 3_000, halfLifeMs: 2_000, roundMs: 500, measureMs: 1_500 },
  ...{ leaseMs: 8_000, figuresAgeMsMax: 8_000, hostCooldownMs: 1_000, vmCooldownMs: 0, returnMs: 0 },
} as const;

export function sceneConfig(obey: readonly HostName[], settings: object = quick): Readonly<Record<string, unknown>> {
  return { capacity: { cores: CORES, memory: '1GiB' }, autopilot: { obey, ...settings } };
}

/** Without a program for each look: these would take a processor from the guests whose use is watched. */
export async function logOf(lab: LabHosts, host: HostName): Promise<readonly AutopilotLogEntry[]> {
  const { entries } = await ask(
    lab,
    host,
    async (client) => await client.call('autopilotLog', { query: { limit: 500 } }),
  );
  return entries;
}

export async function statusOf(lab: LabHosts, host: HostName): Promise<AutopilotStatus> {
  return await ask(lab, host, async (client) => await client.call('autopilotStatus', {}));
}

async function ask<T>(lab: LabHosts, host: HostName, question: (client: AgentClient) => Promise<T>): Promise<T> {
  const client = lab.client(host);
  try {
    return await question(client);
  } finally {
    await client.close();
  }
}

/** Waits until something that was decided since then says this; fails with all that was decided. */
export async function untilSaid(
  lab: LabHosts,
  host: HostName,
  pattern: RegExp,
  { after = 0, timeoutMs = 60_000 } = {},
): Promise<AutopilotLogEntry> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const entries = (await logOf(lab, host)).filter(({ sequence }) => sequence > after);
    const found = entries.find(({ sentence }) => pattern.test(sentence));
    if (found !== undefined) return found;
    if (performance.now() > deadline) {
      const said = entries.map(({ sentence, times }) => `${sentence} (${times})`).join('\n');
      assert.fail(`The autopilot of ${host} did not say ${pattern}, but:\n${said}\n${lab.agentLogs()}`);
    }
    await sleep(300);
  }
}

export async function untilState(
  lab: LabHosts,
  host: HostName,
  state: AutopilotStatus['state'],
): Promise<AutopilotStatus> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    const status = await statusOf(lab, host);
    if (status.state === state) return status;
    if (performance.now() > deadline)
      assert.fail(`The autopilot of ${host} is not ${state}: ${JSON.stringify(status)}`);
    await sleep(300);
  }
}

export function lastSequence(entries: readonly AutopilotLogEntry[]): number {
  return entries.at(-1)?.sequence ?? 0;
}
