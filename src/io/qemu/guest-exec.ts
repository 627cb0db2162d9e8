/** Programs inside a guest, run by its agent: `guest-exec`, `guest-exec-status`. */
import { setTimeout as sleep } from 'node:timers/promises';
import { GuestAgentError } from './errors.ts';
import type { GuestAgent, GuestAgentCallOptions } from './guest-agent.ts';
import { isRecord } from './qmp-messages.ts';

const TIMEOUT_MS = 5_000;
/** The agent does not say when a program has ended: it is asked. */
const ASK_MS = 20;
/** For an answer: the first and the last question get as long, however little is left for the program. */
const ANSWER_TIMEOUT_MS = 1_000;
/** The agent keeps 16 MiB of a program's output, which is more than anybody here wants. */
const OUTPUT_BYTES_MAX = 1 << 20;

export type GuestProgram = {
  /** A name is looked for in the agent's PATH. */
  readonly path: string;
  readonly args: readonly string[];
  readonly input?: Uint8Array;
};

export type GuestProgramResult = {
  /** Null for one that was ended by a signal. */
  readonly exitCode: number | null;
  /** Of its standard output; what it says beyond 1 MiB is lost. */
  readonly output: Buffer;
};

/**
 * Runs a program and waits for its end, so that the agent can forget it; what it left in the background goes on. Throws GuestAgentError: QGA_COMMAND when
 * the agent forbids programs or finds none of that name, QGA_TIMEOUT when it has not ended in time (and goes on).
 */
export async function runInGuest(
  agent: GuestAgent,
  { path, args, input }: GuestProgram,
  { timeoutMs = TIMEOUT_MS, signal }: GuestAgentCallOptions = {},
): Promise<GuestProgramResult> {
  const deadlineMs = performance.now() + timeoutMs;
  const call = { timeoutMs: ANSWER_TIMEOUT_MS, ...(signal && { signal }) };
  const inputData = input === undefined ? {} : { 'input-data': Buffer.from(input).toString('base64') };
  const begun = await agent.execute('guest-exec', { path, arg: args, 'capture-output': true, ...inputData }, call);
  const pid = isRecord(begun) ? begun['pid'] : undefined;
  if (typeof pid !== 'number') throw failed(agent, path, 'gives no process id for');
  for (;;) {
    await sleep(ASK_MS, undefined, signal && { signal });
    const status = await agent.execute('guest-exec-status', { pid }, call);
    if (!isRecord(status)) throw failed(agent, path, 'does not say what became of');
    if (status['exited'] === true) return resultOf(status);
    if (performance.now() >= deadlineMs) throw failed(agent, path, `waited ${timeoutMs} ms in vain for`, 'QGA_TIMEOUT');
  }
}

function resultOf(status: Record<string, unknown>): GuestProgramResult {
  const { exitcode, 'out-data': output } = status;
  const bytes = Buffer.from(typeof output === 'string' ? output : '', 'base64');
  return { exitCode: typeof exitcode === 'number' ? exitcode : null, output: bytes.subarray(0, OUTPUT_BYTES_MAX) };
}

function failed(
  agent: GuestAgent,
  path: string,
  what: string,
  code: 'QGA_COMMAND' | 'QGA_TIMEOUT' = 'QGA_COMMAND',
): GuestAgentError {
  const text = `The guest agent of VM "${agent.vm}" ${what} ${path}`;
  return new GuestAgentError(code, text, { vm: agent.vm, command: 'guest-exec', class: '', desc: what });
}
