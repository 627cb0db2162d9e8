/** Whether a QEMU of this user may use userfaultfd: QEMU itself is asked, because Node.js has no such system call. */
import { spawn } from 'node:child_process';
import { Duplex } from 'node:stream';
import { describeError } from '../../core/base/errors.ts';
import { QmpClient } from './qmp-client.ts';

const TIMEOUT_MS = 10_000;

/**
 * Null when it works, else what QEMU says. An incoming QEMU checks the kernel when the capability postcopy-ram is set.
 * Never throws.
 */
export async function userfaultfdWorks(binary: string): Promise<string | null> {
  const args = '-machine q35,accel=tcg -m 16M -nodefaults -no-user-config -display none -S -incoming defer -qmp stdio';
  const child = spawn(binary, args.split(' '), { stdio: ['pipe', 'pipe', 'ignore'] });
  const failed = new Promise<never>((_, reject) => child.once('error', reject));
  failed.catch(() => undefined);
  try {
    const stream = Duplex.from({ readable: child.stdout, writable: child.stdin });
    const attached = QmpClient.attach({ stream, vm: 'probe of userfaultfd', timeoutMs: TIMEOUT_MS });
    using qmp = await Promise.race([attached, failed]);
    await qmp.execute('migrate-set-capabilities', { capabilities: [{ capability: 'postcopy-ram', state: true }] });
    return null;
  } catch (error) {
    const { desc } = (error as { fields?: { desc?: unknown } }).fields ?? {};
    return typeof desc === 'string' ? desc : describeError(error);
  } finally {
    child.kill('SIGKILL');
  }
}
