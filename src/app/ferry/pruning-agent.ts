/** The guest's agent, asked for what can be left out: by a migration (guest-pruning.ts) and by a look before it (guest-answers.ts). */
import type { MigrationOptions } from '../../core/model/migration.ts';
import type { CacheRule } from '../../core/pages/page-flags.ts';
import { readGuestText } from '../../io/qemu/guest-files.ts';
import { GuestAgent, type GuestAgentCallOptions } from '../../io/qemu/guest-agent.ts';
import { isPruningUnsafe } from './guest-kernel.ts';
import type { LocalVm } from './ports.ts';

/** Throws GuestAgentError, AbortError, or an Error for a guest without an agent's channel. */
export async function connectAgent({ name, qgaPath }: LocalVm, call: GuestAgentCallOptions): Promise<GuestAgent> {
  if (qgaPath === null) throw new Error('it has no guest agent channel');
  return await GuestAgent.connect({ socketPath: qgaPath, vm: name, ...call });
}

/** Throws GuestAgentError, or an Error that says why free pages of this guest must travel. */
export async function refuseUnsafeGuest(agent: GuestAgent, call: GuestAgentCallOptions): Promise<void> {
  const reason = isPruningUnsafe(await readGuestText(agent, '/proc/cmdline', call));
  if (reason !== null) throw new Error(reason);
}

/** Which file cache counts as unneeded, by what a person asked for. */
export function cacheRuleOf({ prune, keepCache }: Pick<MigrationOptions, 'prune' | 'keepCache'>): CacheRule {
  if (prune === 'free') return 'none';
  return keepCache ? 'inactive' : 'all';
}
