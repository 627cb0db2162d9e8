/**
 * What is moved: a case is a guest with its workload. Guests are small, because two QEMUs, two agents and the link share the
 * processors of one machine; what decides a comparison is how fast a guest writes relative to the link, and what its memory
 * holds.
 */
import type { GuestOptions } from '../../../guests/spec.ts';
import type { EchoLoad } from './echo-load.ts';
import { BenchError } from './errors.ts';
import type { ServerKind } from './server-load.ts';

export type CaseGuest = Omit<GuestOptions, 'name' | 'accelerator' | 'heartbeat' | 'address' | 'networks' | 'disks'> & {
  /** Size of an empty disk that both hosts see, the guest's last one, made anew for each move. */
  readonly scratchDisk?: string;
};

export type BenchCase = {
  readonly name: string;
  /** For people. */
  readonly about: string;
  readonly guest: CaseGuest;
  /** Whether how much the guest gets done is a figure; a guest with next to nothing to do has none. */
  readonly works: boolean;
  /** A guest that stays on host a beside the moved one: what the migration takes from it. */
  readonly neighbour?: CaseGuest;
  /** What a client on host b does with the guest's echo service meanwhile. */
  readonly echo?: EchoLoad;
  /** The server that the guest is: a client on host a works with it meanwhile. */
  readonly server?: ServerKind;
  /** For charts of the scaling set: what is varied, and how much of it this case has. */
  readonly scale?: { readonly of: 'memory' | 'dirtyRate'; readonly value: number; readonly unit: string };
};

/** A writer that says its lines and checks its memory, and writes next to nothing. */
const quiet = { set: '64K', rate: '64K' } as const;

function program(name: string, about: string, words: readonly string[]): BenchCase {
  return { name, about, guest: { memory: '512M', writer: quiet, programs: words }, works: true };
}

const mainCases: readonly BenchCase[] = [
  {
    name: 'idle',
    about: 'nothing to do, 512 MiB',
    guest: { memory: '512M', writer: quiet },
    works: false,
  },
  {
    name: 'slow',
    about: 'writes 128 MiB at 20 MiB/s, 512 MiB',
    guest: { memory: '512M', writer: { set: '128M', rate: '20M' } },
    works: true,
  },
  {
    name: 'fast',
    about: 'writes 128 MiB at random, at up to 200 MiB/s, 512 MiB',
    guest: { memory: '512M', writer: { set: '128M', rate: '200M', pattern: 'random' } },
    works: true,
  },
  {
    name: 'cache',
    about: '700 MB of file cache, writes 128 MiB at 20 MiB/s, 1 GiB',
    guest: { memory: '1G', cache: '700M', writer: { set: '128M', rate: '20M' } },
    works: true,
  },
  {
    name: 'random',
    about: '256 MiB that nothing can compress, 768 MiB',
    // Not half of the memory: that would fill the file system on which the guest agent keeps its state, and so make it refuse.
    guest: { memory: '768M', random: '256M', writer: quiet },
    works: false,
  },
  program('dhrystone', 'integer and string work in the caches, 512 MiB', ['dhrystone']),
  program('linpack', 'a dense linear system, over and over, 512 MiB', ['linpack']),
  program('livermore', 'the Livermore loops, 512 MiB', ['livermore']),
  program('mg', 'multigrid on 64 MiB, 512 MiB', ['mg,64M']),
  program('is', 'integer sort of 64 MiB, 512 MiB', ['is,64M']),
  program('sp', 'scalar penta-diagonal solver on 64 MiB, 512 MiB', ['sp,64M']),
  program('bt', 'block tri-diagonal solver on 64 MiB, 512 MiB', ['bt,64M']),
  {
    name: 'mail',
    about: 'files of a mail server on a shared disk: made, read, grown, removed, 512 MiB',
    guest: { memory: '512M', writer: quiet, programs: ['mailfiles,/dev/vda'], scratchDisk: '512M' },
    works: true,
  },
];

/** Real programs of a Debian system; its image is built when it is first asked for (docs/workloads.md). */
const debianCases: readonly BenchCase[] = [
  debian('compile', 'gcc compiles zlib, again and again', 'compile'),
  debian('video', 'ffmpeg decodes a clip in a loop', 'video'),
  { ...debian('web', 'nginx, 200 requests a second over 8 connections', 'nginx'), server: 'web' },
  { ...debian('wrk', 'nginx, as many requests as it answers over 8 connections of wrk', 'nginx'), server: 'wrk' },
  { ...debian('redis', 'Redis, 400 commands a second over 4 connections', 'redis'), server: 'redis' },
];

function debian(name: string, about: string, word: string): BenchCase {
  const guest: CaseGuest = { image: 'debian', memory: '768M', writer: quiet, programs: [word] };
  return { name, about: `${about}, 768 MiB`, guest, works: true };
}

const noise: BenchCase = {
  name: 'noise',
  about: 'a guest that writes 128 MiB at 20 MiB/s leaves a host on which another one serves files',
  guest: { memory: '512M', writer: { set: '128M', rate: '20M' } },
  works: true,
  neighbour: { memory: '256M', writer: quiet, programs: ['mailfiles,tmpfs'] },
};

/** The sweep of the SonicMigration paper, scaled: file cache, and user memory of so many MB. */
const sonicCases = [0, 500, 1000, 1500, 2000].map((userMb): BenchCase => ({
  name: `sonic-${userMb}`,
  about: `700 MB of file cache and ${userMb} MB of user memory, 3 GiB`,
  guest: { memory: '3G', cache: '700M', writer: quiet, ...(userMb > 0 && { programs: [`memhold,${userMb}M`] }) },
  works: false,
}));

/** For papers (papers/). */
const paperCases: readonly BenchCase[] = [
  {
    name: 'echo',
    about: 'echoes 2 MB/s over 4 connections of a client on the other host, 512 MiB',
    guest: { memory: '512M', writer: quiet, tcpPort: 7 },
    works: false,
    echo: { port: 7, connections: 4, bytesPerS: 2e6 },
  },
  {
    name: 'mail-pair',
    about: 'a mail server with 700 MB of file cache, 1 GiB, leaves a host on which another mail server stays',
    guest: { memory: '1G', cache: '700M', writer: quiet, programs: ['mailfiles,tmpfs'] },
    works: true,
    neighbour: { memory: '256M', writer: quiet, programs: ['mailfiles,tmpfs'] },
  },
  {
    name: 'files',
    about: '256 MB of files that compress about 2:1 in its cache, 512 MiB',
    guest: { memory: '512M', cache: '256M', writer: quiet },
    works: false,
  },
];

/** Three eighths of the memory hold what cannot be compressed, so that the link is what bounds every mode. */
const memoryCases = [0.5, 1, 2, 4, 8].map((gib): BenchCase => ({
  name: `memory-${gib * 1024}`,
  about: `${gib} GiB, three eighths of it with what nothing can compress`,
  guest: { memory: `${gib * 1024}M`, random: `${gib * 384}M`, writer: quiet },
  works: false,
  scale: { of: 'memory', value: gib, unit: 'GiB' },
}));

const dirtyRateCases = [0, 5, 10, 20, 40, 80, 160].map((mib): BenchCase => ({
  name: `rate-${mib}`,
  about: `writes 128 MiB at random at ${mib} MiB/s, 512 MiB`,
  guest: { memory: '512M', writer: { set: '128M', rate: mib === 0 ? '64K' : `${mib}M`, pattern: 'random' } },
  works: true,
  scale: { of: 'dirtyRate', value: mib, unit: 'MiB/s' },
}));

export const benchCases: readonly BenchCase[] = [
  ...mainCases,
  ...debianCases,
  noise,
  ...sonicCases,
  ...paperCases,
  ...memoryCases,
  ...dirtyRateCases,
];

/** Throws BenchError BENCH_CHOICE. */
export function caseOf(name: string): BenchCase {
  const found = benchCases.find((each) => each.name === name);
  if (found !== undefined) return found;
  const names = benchCases.map((each) => each.name).join(', ');
  throw new BenchError('BENCH_CHOICE', `There is no case "${name}": the cases are ${names}`, { case: name });
}
