import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { sourcesOf } from './setup-apt.ts';
import { archivesOfLines, archivesOfStanzas, debianRelease, missingPackages } from './setup-debian.ts';

const stanzas = `Types: deb
# a comment
URIs: http://mirror.invalid/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb-src
URIs: http://mirror.invalid/source
Suites: bookworm

Types: deb
Enabled: no
URIs: http://off.invalid/debian
Suites: bookworm
`;

test('the release is read from os-release, and is null elsewhere than on Debian', () => {
  const text = 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n';
  assert.deepEqual(debianRelease(text), { id: 'debian', codename: 'bookworm', major: 12 });
  assert.equal(debianRelease('ID=fedora\nVERSION_ID=43\n'), null);
});

test('deb822 stanzas yield their archive; sources and disabled ones are left out', () => {
  assert.deepEqual(archivesOfStanzas(stanzas), [
    {
      uris: 'http://mirror.invalid/debian',
      suites: ['bookworm', 'bookworm-updates'],
      signedBy: '/usr/share/keyrings/debian-archive-keyring.gpg',
    },
  ]);
});

test('one-line sources yield their archive, with and without options', () => {
  const text = '# deb http://no.invalid x main\ndeb http://one.invalid/debian bookworm main\n';
  assert.deepEqual(archivesOfLines(`${text}deb [arch=amd64 signed-by=/k.gpg] http://two.invalid/d bookworm main\n`), [
    { uris: 'http://one.invalid/debian', suites: ['bookworm'], signedBy: null },
    { uris: 'http://two.invalid/d', suites: ['bookworm'], signedBy: '/k.gpg' },
  ]);
});

test('the backports suite is added to the archive that has the release, and to no other', () => {
  const text = sourcesOf('bookworm', [
    { uris: 'http://security.invalid', suites: ['bookworm-security'], signedBy: null },
    { uris: 'http://mirror.invalid', suites: ['bookworm'], signedBy: null },
  ]);
  assert.match(text, /mirror\.invalid\nSuites: bookworm bookworm-backports\n/);
  assert.match(text, /security\.invalid\nSuites: bookworm-security\n/);
  assert.throws(() => sourcesOf('bookworm', []), /No source for the suite bookworm/);
});

test('a package is missing unless dpkg has it installed', () => {
  const folder = mkdtempSync(join(tmpdir(), 'vmferry-'));
  const status = join(folder, 'status');
  const removed = 'Package: tgt\nStatus: deinstall ok config-files\n';
  writeFileSync(status, `Package: gcc\nStatus: install ok installed\nPriority: optional\n\n${removed}`);
  assert.deepEqual(missingPackages(['gcc', 'tgt', 'xz-utils'], status), ['tgt', 'xz-utils']);
  rmSync(folder, { recursive: true });
});
