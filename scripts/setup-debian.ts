/**
 * What this machine is and has: its Debian release, its configured package sources, its installed packages.
 *
 * The mirrors that vmferry downloads from are the ones that the machine's owner configured: they are read from apt's own
 * source lists and never named here.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

export type Release = { readonly id: string; readonly codename: string; readonly major: number };

/** One configured Debian archive: where it is, which suites of this release it has, and how it is trusted. */
export type Archive = { readonly uris: string; readonly suites: readonly string[]; readonly signedBy: string | null };

export class SetupError extends Error {
  override readonly name = 'SetupError';
}

/** The release of this machine by os-release(5), or null where it is not Debian. */
export function debianRelease(text = readIfThere('/etc/os-release')): Release | null {
  const value = (key: string): string => new RegExp(`^${key}="?([^"\n]*)"?$`, 'm').exec(text)?.[1] ?? '';
  if (value('ID') !== 'debian' || value('VERSION_CODENAME') === '') return null;
  return { id: 'debian', codename: value('VERSION_CODENAME'), major: Number(value('VERSION_ID')) };
}

/** The archives that apt is configured to use for this release, from sources.list and sources.list.d. */
export function configuredArchives(codename: string, folder = '/etc/apt'): Archive[] {
  const parts = join(folder, 'sources.list.d');
  const files = [
    join(folder, 'sources.list'),
    ...(existsSync(parts) ? readdirSync(parts).map((name) => join(parts, name)) : []),
  ];
  return files
    .flatMap((file) => {
      if (file.endsWith('.sources')) return archivesOfStanzas(readIfThere(file));
      return file.endsWith('.list') ? archivesOfLines(readIfThere(file)) : [];
    })
    .map((archive) => ({ ...archive, suites: archive.suites.filter((suite) => ofRelease(suite, codename)) }))
    .filter((archive) => archive.suites.length > 0);
}

/** `deb [signed-by=...] URI SUITE COMPONENT...` */
export function archivesOfLines(text: string): Archive[] {
  const line = /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s/gm;
  return Array.from(text.matchAll(line), ([, options = '', uris = '', suite = '']) => ({
    uris,
    suites: [suite],
    signedBy: /signed-by=(\S+)/i.exec(options)?.[1] ?? null,
  }));
}

/** The deb822 form: stanzas of `Types:`, `URIs:`, `Suites:`, `Signed-By:`. */
export function archivesOfStanzas(text: string): Archive[] {
  const uncommented = text.replace(/^#.*\n/gm, '');
  return uncommented.split(/\n\s*\n/).flatMap((stanza) => {
    const field = (name: string): string =>
      new RegExp(`^${name}:[ \t]*(.*(?:\n[ \t].*)*)`, 'im').exec(stanza)?.[1]?.trim() ?? '';
    if (!field('Types').split(/\s+/).includes('deb') || /^no$/i.test(field('Enabled'))) return [];
    return [{ uris: field('URIs'), suites: field('Suites').split(/\s+/), signedBy: field('Signed-By') || null }];
  });
}

/** Those of `wanted` that dpkg does not have installed. */
export function missingPackages(wanted: readonly string[], status = '/var/lib/dpkg/status'): string[] {
  const installed = new Set<string>();
  for (const match of readIfThere(status).matchAll(/^Package: (\S+)\nStatus: install ok installed$/gm)) {
    installed.add(match[1] ?? '');
  }
  return wanted.filter((name) => !installed.has(name));
}

/** Runs a program to its end, its output hidden unless it fails; a failure is a SetupError with the output's end. */
export function run(program: string, argv: readonly string[], environment: NodeJS.ProcessEnv = {}): string {
  try {
    return execFileSync(program, argv, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive', ...environment },
      maxBuffer: 64 << 20,
    });
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    const tail = `${stdout}\n${stderr}`.trim().split('\n').slice(-12).join('\n');
    throw new SetupError(`${program} ${argv.join(' ')} failed:\n${tail}`, { cause: error });
  }
}

function ofRelease(suite: string, codename: string): boolean {
  return suite === codename || (suite.startsWith(`${codename}-`) && !suite.endsWith('-backports-sloppy'));
}

function readIfThere(file: string): string {
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}
