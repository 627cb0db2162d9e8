/** Tap devices for guests on a bridge, made with `ip` before QEMU starts and deleted after it ended. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { TapPlan } from './command-line.ts';
import { TapError } from './errors.ts';

const run = promisify(execFile);
const IP_TIMEOUT_MS = 5000;

/** Creates the device, joins it to the bridge and sets it up; one left over from before is replaced. Throws TapError. */
export async function createTap(plan: TapPlan, signal?: AbortSignal): Promise<void> {
  await deleteTap(plan.ifname, signal);
  await ip(['tuntap', 'add', 'dev', plan.ifname, 'mode', 'tap'], plan, signal);
  try {
    await ip(['link', 'set', 'dev', plan.ifname, 'master', plan.bridge], plan, signal);
    await ip(['link', 'set', 'dev', plan.ifname, 'up'], plan, signal);
  } catch (error) {
    await deleteTap(plan.ifname);
    throw error;
  }
}

/** Deletes the device; one that does not exist is no error. Throws TapError when it stays. */
export async function deleteTap(ifname: string, signal?: AbortSignal): Promise<void> {
  try {
    await ip(['link', 'show', 'dev', ifname], { ifname, bridge: '' }, signal);
  } catch {
    return;
  }
  await ip(['link', 'delete', 'dev', ifname], { ifname, bridge: '' }, signal);
}

async function ip(args: readonly string[], plan: TapPlan, signal: AbortSignal | undefined): Promise<void> {
  try {
    await run('ip', args, { timeout: IP_TIMEOUT_MS, ...(signal === undefined ? {} : { signal }) });
  } catch (cause) {
    const { stderr, message } = cause as Error & { stderr?: string };
    const text = `Cannot run "ip ${args.join(' ')}": ${(stderr ?? '').trim() || message}`;
    throw new TapError('TAP_FAILED', text, { ifname: plan.ifname, bridge: plan.bridge }, { cause });
  }
}
