/**
 * A source QEMU's migration settings as they were before vmferry changed them, beside its sockets on disk: an agent that
 * dies cannot put them back, the next one can. They name their process, so those of a former QEMU are never applied.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { SavedSettings } from '../../io/qemu/migration-control.ts';
import type { LocalVm } from './ports.ts';

const keptSchema = z.object({
  pid: z.int(),
  startTicks: z.int(),
  settings: z.object({
    parameters: z.record(z.string(), z.number()),
    capabilities: z.array(z.object({ capability: z.string(), state: z.boolean() })),
  }),
});

/** Throws Node's error when the folder cannot be written: then nothing has been changed at the QEMU yet. */
export function keepSettings({ pid, startTicks, runFolder }: LocalVm, settings: SavedSettings): void {
  const file = fileOf(runFolder);
  writeFileSync(`${file}.next`, JSON.stringify({ pid, startTicks, settings }), { mode: 0o600 });
  renameSync(`${file}.next`, file);
}

/** What an earlier agent kept of this very process, or null. */
export function keptSettings({ pid, startTicks, runFolder }: LocalVm): SavedSettings | null {
  try {
    const kept = keptSchema.parse(JSON.parse(readFileSync(fileOf(runFolder), 'utf8')));
    return kept.pid === pid && kept.startTicks === startTicks ? kept.settings : null;
  } catch {
    return null;
  }
}

export function forgetSettings({ runFolder }: LocalVm): void {
  rmSync(fileOf(runFolder), { force: true });
}

function fileOf(runFolder: string): string {
  return join(runFolder, 'migration-settings.json');
}
