/**
 * A guest that dropped its file cache reads the files of it again, wherever it goes on (`--warm-up`, docs/pruning.md).
 *
 *     source                                        destination
 *     listHotFiles, before the cache is dropped
 *     hotFiles, before the guest is stopped  ─────▶  readAgain, once the guest runs there and has all pages
 *     readAgain, when the migration was aborted
 *
 * Both are programs of the guest, run by its agent, and all that can go wrong with them is that the cache stays cold.
 */
import { describeError } from '../../core/base/errors.ts';
import type { Logger } from '../../io/log/logger.ts';
import type { GuestAgent, GuestAgentCallOptions } from '../../io/qemu/guest-agent.ts';
import { runInGuest } from '../../io/qemu/guest-exec.ts';
import { type HotFiles, hotFilesOf, LIST_SCRIPT, NO_FINCORE, READ_SCRIPT } from './hot-files.ts';
import type { LocalVm } from './ports.ts';
import { connectAgent } from './pruning-agent.ts';

/** What the guest has found by then is what is read: the migration waits for it. */
const LIST_SECONDS = 2;
const LIST_TIMEOUT_MS = 1_000 * LIST_SECONDS + 500;
const CONNECT_TIMEOUT_MS = 2_000;
const READ_TIMEOUT_MS = 5_000;

/** Throws GuestAgentError, or an Error that says what the guest lacks. */
export async function listHotFiles(agent: GuestAgent, { signal }: GuestAgentCallOptions): Promise<HotFiles> {
  const program = { path: 'timeout', args: [String(LIST_SECONDS), 'sh', '-c', LIST_SCRIPT] };
  const call = { timeoutMs: LIST_TIMEOUT_MS, ...(signal && { signal }) };
  const { exitCode, output } = await runInGuest(agent, program, call);
  if (exitCode === NO_FINCORE) throw new Error('it has no program "fincore" (of util-linux) that names them');
  return hotFilesOf(output);
}

/** Has the guest begin to read these files. Never throws: the log says what came of it. */
export async function readAgain(vm: LocalVm, list: Uint8Array, log: Logger): Promise<void> {
  const facts = { vm: vm.name, files: list.filter((byte) => byte === 0x0a).length };
  if (facts.files === 0) return;
  try {
    using agent = await connectAgent(vm, { timeoutMs: CONNECT_TIMEOUT_MS });
    const program = { path: 'sh', args: ['-c', READ_SCRIPT], input: list };
    const { exitCode } = await runInGuest(agent, program, { timeoutMs: READ_TIMEOUT_MS });
    if (exitCode !== 0) throw new Error(`its shell ended with ${exitCode ?? 'a signal'}`);
    log.info('migration.warmUp', `VM "${vm.name}" reads ${facts.files} files of its former cache again`, facts);
  } catch (error) {
    const text = `VM "${vm.name}" does not read the files of its former cache again: ${describeError(error)}`;
    log.warn('migration.warmUp', text, facts);
  }
}
