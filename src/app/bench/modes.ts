/**
 * By what a guest is moved: vmferry's strategies with options, and what QEMU has of its own.
 *
 * A mode may be given further options in its name: `vmferry-auto:compress=none:lanes=2`, `qemu-default:downtime=5000` (the maximum
 * that QEMU is allowed, in milliseconds).
 */
import { compressModes, deltaModes, pruneModes } from '../../core/model/migration.ts';
import type { MigrationOptions } from '../../core/model/migration.ts';
import type { NativeMode } from '../lab/native-migration.ts';
import { BenchError } from './errors.ts';

export type ModeFamily = 'vmferry' | 'qemu';

export type BenchMode = { readonly name: string; readonly about: string } & (
  | { readonly family: 'vmferry'; readonly options: Partial<MigrationOptions> }
  | { readonly family: 'qemu'; readonly native: NativeMode; readonly since?: number; readonly downtimeLimitMs?: number }
);

const ownModes: readonly BenchMode[] = [
  { name: 'vmferry-auto', family: 'vmferry', about: 'its defaults', options: {} },
  { name: 'vmferry-precopy', family: 'vmferry', about: 'rounds in ascending order', options: { strategy: 'precopy' } },
  { name: 'vmferry-mplm', family: 'vmferry', about: 'never-dirtied pages first', options: { strategy: 'mplm' } },
  {
    name: 'vmferry-dsm',
    family: 'vmferry',
    about: 'cold pages before, hot ones after the switchover (may pull)',
    options: { strategy: 'dsm', pull: true },
  },
  {
    name: 'vmferry-postcopy',
    family: 'vmferry',
    about: 'all pages after the switchover (may pull)',
    options: { strategy: 'postcopy', pull: true },
  },
];

/** The last two change nothing for these guests on QEMU 10, whose defaults have the one and whose devices do not use the other. */
const qemuModes: readonly BenchMode[] = [
  { name: 'qemu-default', family: 'qemu', native: 'qemu-default', about: 'pre-copy' },
  { name: 'qemu-xbzrle', family: 'qemu', native: 'qemu-xbzrle', about: 'deltas from a cache of 256 MiB' },
  { name: 'qemu-multifd', family: 'qemu', native: 'qemu-multifd', about: '2 channels, not compressed' },
  { name: 'qemu-multifd-zstd', family: 'qemu', native: 'qemu-multifd-zstd', about: '2 channels, zstd level 1' },
  { name: 'qemu-auto-converge', family: 'qemu', native: 'qemu-auto-converge', about: 'slows the guest down' },
  { name: 'qemu-postcopy', family: 'qemu', native: 'qemu-postcopy', about: 'post-copy as soon as it is under way' },
  {
    name: 'qemu-multifd-zero-page',
    family: 'qemu',
    native: 'qemu-multifd-zero-page',
    about: '2 channels that look for zero pages themselves, the default since QEMU 9.0',
    since: 9,
  },
  {
    name: 'qemu-switchover-ack',
    family: 'qemu',
    native: 'qemu-switchover-ack',
    about: 'pre-copy that waits for the devices of the destination before it stops the guest',
    since: 9,
  },
];

const laneModes = [1, 2, 3, 4].map((lanes): BenchMode => ({
  name: `vmferry-lanes-${lanes}`,
  family: 'vmferry',
  about: `its defaults with ${lanes} ${lanes === 1 ? 'lane' : 'lanes'}`,
  options: { lanes },
}));

export const benchModes: readonly BenchMode[] = [...ownModes, ...qemuModes, ...laneModes];

/** The mode that is compared with QEMU's. */
export const referenceMode = 'vmferry-auto';

const choices: Readonly<Record<string, readonly string[]>> = {
  compress: compressModes,
  delta: deltaModes,
  prune: pruneModes,
};
const LANES_MAX = 16;
/** QEMU takes no more. */
const DOWNTIME_LIMIT_MAX_MS = 2_000_000;

/** Throws BenchError BENCH_CHOICE. */
export function modeOf(name: string): BenchMode {
  const [base = '', ...words] = name.split(':');
  const found = benchModes.find((each) => each.name === base);
  if (found === undefined) {
    const names = benchModes.map((each) => each.name).join(', ');
    throw new BenchError('BENCH_CHOICE', `There is no mode "${base}": the modes are ${names}`, { mode: name });
  }
  if (words.length === 0) return found;
  const about = `${found.about}; ${words.join(', ')}`;
  if (found.family === 'qemu') return { ...found, name, about, downtimeLimitMs: downtimeLimitOf(words, name) };
  const options = Object.fromEntries(words.map((word) => optionOf(word, name)));
  return { ...found, name, about, options: { ...found.options, ...options } };
}

/** Throws BenchError BENCH_CHOICE. */
function downtimeLimitOf(words: readonly string[], mode: string): number {
  const limitMs = Number(/^downtime=(\d+)$/.exec(words[0] ?? '')?.[1]);
  if (words.length === 1 && limitMs >= 1 && limitMs <= DOWNTIME_LIMIT_MAX_MS) return limitMs;
  const text = `"${words.join(':')}" of mode "${mode}" is not downtime=1 to ${DOWNTIME_LIMIT_MAX_MS}, the one option of QEMU's modes`;
  throw new BenchError('BENCH_CHOICE', text, { mode });
}

function optionOf(word: string, mode: string): [string, string | number] {
  const [option = '', value = ''] = word.split('=');
  if (option === 'lanes' && /^\d+$/.test(value) && Number(value) >= 1 && Number(value) <= LANES_MAX) {
    return [option, Number(value)];
  }
  if (choices[option]?.includes(value) === true) return [option, value];
  const known = Object.entries(choices).map(([name, values]) => `${name}=${values.join('|')}`);
  const text = `"${word}" of mode "${mode}" is none of lanes=1 to ${LANES_MAX}, ${known.join(', ')}`;
  throw new BenchError('BENCH_CHOICE', text, { mode });
}

/** Post-copy modes stop the guest at once and bring its pages after: their downtime is not that of a pre-copy. */
export function isPostcopy(name: string): boolean {
  return ['qemu-postcopy', 'vmferry-postcopy', 'vmferry-dsm'].includes(name.split(':')[0]!);
}
