import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { chmod, copyFile, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { AppError } from '../../core/base/errors.ts';
import { loadIdentity, type IdentityFiles } from './identity.ts';
import { authorityFiles, createAuthority, hostFiles, issueHostCertificate } from './pki.ts';

let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vmferry-pki-'));
  await createAuthority({ folder: join(folder, 'one'), name: 'one', days: 30 });
  await createAuthority({ folder: join(folder, 'two'), name: 'one', days: 30 });
  await issueHostCertificate({ folder: join(folder, 'one'), host: 'alpha', addresses: ['10.0.0.1', '::1'], days: 10 });
  await issueHostCertificate({ folder: join(folder, 'one'), host: 'beta', days: 10 });
});
after(async () => {
  await rm(folder, { recursive: true, force: true });
});

const rejectsWith = async (code: string, action: Promise<unknown>, message = /./): Promise<void> => {
  await assert.rejects(action, (error) => {
    assert.ok(error instanceof AppError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
};

const filesOf = (authority: string, host: string): IdentityFiles => ({
  ...hostFiles(join(folder, authority), host),
  caFile: authorityFiles(join(folder, authority)).certFile,
});

test('a host certificate carries its name twice, its addresses, both uses and a signature of the authority', async () => {
  const files = filesOf('one', 'alpha');
  const certificate = new X509Certificate(await readFile(files.certFile));
  const authority = new X509Certificate(await readFile(files.caFile));
  assert.equal(certificate.subject, 'CN=alpha');
  assert.equal(certificate.subjectAltName, 'DNS:alpha, IP Address:10.0.0.1, IP Address:0:0:0:0:0:0:0:1');
  assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  assert.equal(certificate.ca, false);
  assert.equal(authority.ca, true);
  assert.ok(certificate.verify(authority.publicKey));
  assert.equal(certificate.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1');
  const other = new X509Certificate(await readFile(filesOf('one', 'beta').certFile));
  assert.notEqual(certificate.serialNumber, other.serialNumber);
  assert.match(certificate.serialNumber, /^[4-7][0-9A-F]{31}$/);
});

test('keys are for their owner only, and no temporary file stays', async () => {
  for (const file of [authorityFiles(join(folder, 'one')).keyFile, filesOf('one', 'alpha').keyFile]) {
    assert.equal((await stat(file)).mode & 0o777, 0o600);
  }
  const names = (await readdir(join(folder, 'one'))).sort();
  assert.deepEqual(names, ['alpha.key', 'alpha.pem', 'beta.key', 'beta.pem', 'ca.key', 'ca.pem']);
});

test('nothing is overwritten', async () => {
  const before = await readFile(filesOf('one', 'alpha').keyFile, 'utf8');
  await rejectsWith('PKI_EXISTS', createAuthority({ folder: join(folder, 'one'), name: 'x', days: 1 }));
  await rejectsWith('PKI_EXISTS', issueHostCertificate({ folder: join(folder, 'one'), host: 'alpha', days: 1 }));
  assert.equal(await readFile(filesOf('one', 'alpha').keyFile, 'utf8'), before);
});

test('bad requests are refused by kind', async () => {
  const one = join(folder, 'one');
  for (const host of ['', 'ca', 'Alpha', '../alpha', '10.0.0.1', 'a b', 'x'.repeat(64)]) {
    await rejectsWith('PKI_HOST_NAME', issueHostCertificate({ folder: one, host, days: 1 }));
  }
  await rejectsWith('PKI_ADDRESS', issueHostCertificate({ folder: one, host: 'c', addresses: ['c'], days: 1 }));
  for (const days of [0, -1, 1.5, 1e6]) {
    await rejectsWith('PKI_DAYS', issueHostCertificate({ folder: one, host: 'c', days }));
  }
  await rejectsWith('PKI_NO_AUTHORITY', issueHostCertificate({ folder: join(folder, 'none'), host: 'c', days: 1 }));
});

test('a host certificate does not outlive its authority, and an expired authority issues none', async () => {
  const short = join(folder, 'short');
  await createAuthority({ folder: short, name: 'short', days: 2 });
  await issueHostCertificate({ folder: short, host: 'alpha', days: 100 });
  const identity = await loadIdentity(filesOf('short', 'alpha'));
  assert.ok(identity.notAfter.getTime() < Date.now() + 3 * 86_400_000);
  const past = join(folder, 'past');
  await createAuthority({ folder: past, name: 'past', days: 1, notBefore: new Date('2020-01-01') });
  await rejectsWith(
    'PKI_AUTHORITY_EXPIRED',
    issueHostCertificate({ folder: past, host: 'alpha', days: 1 }),
    /2020-01-02/,
  );
});

test('a good identity loads with its host name', async () => {
  const identity = await loadIdentity(filesOf('one', 'alpha'));
  assert.equal(identity.name, 'alpha');
  assert.match(identity.certPem, /^-----BEGIN CERTIFICATE-----\n/);
});

test('what is wrong with an identity is said by file', async () => {
  const good = filesOf('one', 'alpha');
  const one = join(folder, 'one');
  await rejectsWith(
    'IDENTITY_MISSING',
    loadIdentity({ ...good, certFile: join(one, 'no.pem') }),
    /no\.pem is not there/,
  );
  await rejectsWith('IDENTITY_UNREADABLE', loadIdentity({ ...good, keyFile: one }));
  const garbage = join(folder, 'garbage.pem');
  await writeFile(garbage, 'hello');
  await rejectsWith('IDENTITY_UNREADABLE', loadIdentity({ ...good, caFile: garbage }), /garbage\.pem/);
  await rejectsWith('IDENTITY_KEY_MISMATCH', loadIdentity({ ...good, keyFile: filesOf('one', 'beta').keyFile }));
  // Same name of the authority, another key: only the signature tells them apart.
  await rejectsWith('IDENTITY_WRONG_CA', loadIdentity({ ...good, caFile: join(folder, 'two', 'ca.pem') }));
  await rejectsWith('IDENTITY_WRONG_CA', loadIdentity({ ...good, caFile: filesOf('one', 'beta').certFile }));
  const authority = authorityFiles(one);
  const itself = { ...authority, caFile: authority.certFile };
  await rejectsWith('IDENTITY_NAME', loadIdentity(itself), /not the certificate of a host/);
});

test('expired and early certificates are told apart', async () => {
  const dated = join(folder, 'dated');
  await createAuthority({ folder: dated, name: 'dated', days: 30_000, notBefore: new Date('2019-01-01') });
  await issueHostCertificate({ folder: dated, host: 'old', days: 1, notBefore: new Date('2020-01-01') });
  await issueHostCertificate({ folder: dated, host: 'new', days: 1, notBefore: new Date('2090-01-01') });
  await rejectsWith('IDENTITY_EXPIRED', loadIdentity(filesOf('dated', 'old')), /expired on 2020-01-02/);
  await rejectsWith('IDENTITY_NOT_YET_VALID', loadIdentity(filesOf('dated', 'new')), /2090-01-01/);
});

test('an authority whose key is damaged is no authority', async () => {
  const damaged = join(folder, 'damaged');
  await createAuthority({ folder: damaged, name: 'damaged', days: 1 });
  const { keyFile } = authorityFiles(damaged);
  await chmod(keyFile, 0o600);
  await copyFile(authorityFiles(damaged).certFile, keyFile);
  await rejectsWith('PKI_NO_AUTHORITY', issueHostCertificate({ folder: damaged, host: 'alpha', days: 1 }));
});
