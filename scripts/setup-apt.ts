/**
 * apt with a state of its own under `.cache/apt`: package lists, archives and sources are ours, the system's are neither
 * read for this nor changed. The sources are the machine's configured Debian archives plus the release's backports suite.
 */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { configuredArchives, run, SetupError } from './setup-debian.ts';
import type { Archive, Release } from './setup-debian.ts';

export class PrivateApt {
  readonly #folder: string;
  readonly #release: Release;
  #updated = false;

  constructor(folder: string, release: Release) {
    this.#folder = folder;
    this.#release = release;
  }

  /** Downloads packages and those of their dependencies that the system lacks, from `suite`; returns the `.deb` files. */
  downloadWithDependencies(suite: string, packages: readonly string[]): string[] {
    this.#update();
    const archives = this.#emptyFolder('archives');
    mkdirSync(join(archives, 'partial'));
    const options = ['-qq', '-y', '--no-install-recommends', '--reinstall', '--download-only', '-t', suite];
    this.#aptGet([...options, '-o', 'Debug::NoLocking=true', 'install', ...packages]);
    return debFiles(archives);
  }

  /** Downloads packages alone, without dependencies; returns the `.deb` files. */
  download(suite: string, packages: readonly string[]): string[] {
    this.#update();
    const folder = this.#emptyFolder('downloads');
    this.#runIn(folder, ['-qq', '-t', suite, 'download', ...packages]);
    return debFiles(folder);
  }

  /**
   * Downloads packages with all of their dependencies, as if nothing were installed, but for those that match `leftOut`;
   * returns the `.deb` files.
   */
  downloadClosure(packages: readonly string[], leftOut: RegExp): string[] {
    this.#update();
    const folder = this.#emptyFolder('closure');
    const nothing = join(folder, 'status');
    writeFileSync(nothing, '');
    const options = ['-o', `Dir::State::status=${nothing}`, '-qq', '-s', '--no-install-recommends', 'install'];
    const plan = run('apt-get', [...this.#options(), ...options, ...packages]);
    const wanted = Array.from(plan.matchAll(/^Inst (\S+) \((\S+) /gm), ([, name, version]) => ({ name, version }))
      .filter(({ name = '' }) => !leftOut.test(name))
      .map(({ name, version }) => `${name}=${version}`);
    if (wanted.length === 0) throw new SetupError(`apt has no plan to install ${packages.join(' ')}:\n${plan}`);
    this.#runIn(folder, ['-qq', 'download', ...wanted]);
    return debFiles(folder);
  }

  /** Downloads the files of a source package of `suite`; returns their paths. */
  downloadSource(suite: string, name: string): string[] {
    this.#update();
    const folder = this.#emptyFolder('source');
    const main = configuredArchives(this.#release.codename).filter((archive) => archive.suites.includes(suite));
    const sources = sourcesOf(this.#release.codename, main, 'deb-src');
    writeFileSync(join(folder, 'debian.sources'), sources);
    mkdirSync(join(folder, 'lists', 'partial'), { recursive: true });
    const own = [`Dir::Etc::sourcelist=${folder}/debian.sources`, `Dir::State::lists=${folder}/lists`];
    const options = own.flatMap((setting) => ['-o', setting]);
    this.#aptGet([...options, '-qq', 'update']);
    this.#runIn(folder, [...options, '-qq', 'source', '--download-only', name]);
    rmSync(join(folder, 'lists'), { recursive: true });
    return readdirSync(folder).map((file) => join(folder, file));
  }

  /** The package that a meta-package of the release depends on, for example the current kernel image. */
  dependencyOf(suite: string, metaPackage: string, pattern: RegExp): string {
    this.#update();
    const text = run('apt-cache', [...this.#options(), '-t', suite, 'show', '--no-all-versions', metaPackage]);
    const found = /^Depends: (.*)$/m
      .exec(text)?.[1]
      ?.split(/,\s*/)
      .map((entry) => entry.split(' ')[0] ?? '')
      .find((name) => pattern.test(name));
    if (found === undefined)
      throw new SetupError(`Package ${metaPackage} of ${suite} names no package like ${pattern}`);
    return found;
  }

  #update(): void {
    if (this.#updated) return;
    mkdirSync(join(this.#folder, 'lists', 'partial'), { recursive: true });
    const archives = configuredArchives(this.#release.codename);
    writeFileSync(join(this.#folder, 'debian.sources'), sourcesOf(this.#release.codename, archives));
    writeFileSync(join(this.#folder, 'apt.conf'), this.#configuration());
    this.#aptGet(['-qq', 'update']);
    this.#updated = true;
  }

  #configuration(): string {
    return [
      `Dir::Etc::sourcelist "${this.#folder}/debian.sources";`,
      'Dir::Etc::sourceparts "-";',
      `Dir::State::lists "${this.#folder}/lists";`,
      `Dir::Cache "${this.#folder}";`,
      `Dir::Cache::archives "${this.#folder}/archives";`,
      'APT::Sandbox::User "root";',
      'Acquire::Languages "none";',
      'Acquire::Retries "3";',
      '',
    ].join('\n');
  }

  #options(): string[] {
    return ['-c', join(this.#folder, 'apt.conf')];
  }

  #aptGet(argv: readonly string[]): void {
    run('apt-get', [...this.#options(), ...argv]);
  }

  /** apt-get downloads to where it is started. */
  #runIn(folder: string, argv: readonly string[]): void {
    run('sh', ['-c', 'cd "$1" && shift && exec "$@"', 'sh', folder, 'apt-get', ...this.#options(), ...argv]);
  }

  #emptyFolder(name: string): string {
    const folder = join(this.#folder, name);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    return folder;
  }
}

/** The sources file: the configured archives, and the backports suite on the one that has the release itself. */
export function sourcesOf(codename: string, archives: readonly Archive[], type: 'deb' | 'deb-src' = 'deb'): string {
  const main = archives.find((archive) => archive.suites.includes(codename));
  if (main === undefined) {
    throw new SetupError(
      `No source for the suite ${codename} in /etc/apt: vmferry takes the mirror's address from there`,
    );
  }
  return archives
    .map((archive) => {
      const suites = new Set(archive === main ? [...archive.suites, `${codename}-backports`] : archive.suites);
      const signed = archive.signedBy === null ? '' : `Signed-By: ${archive.signedBy}\n`;
      return `Types: ${type}\nURIs: ${archive.uris}\nSuites: ${[...suites].join(' ')}\nComponents: main\n${signed}`;
    })
    .join('\n');
}

/** Unpacks packages into a folder, as files only: nothing is installed, no script of a package runs. */
export function extractPackages(files: readonly string[], folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const file of files) run('dpkg-deb', ['-x', file, folder]);
}

function debFiles(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith('.deb'))
    .map((name) => join(folder, name));
}
