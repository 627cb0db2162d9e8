/**
 * The small authority that a fleet of hosts shares, and the certificate of each host.
 *
 *     FOLDER/ca.pem  ca.key         the authority; ca.key stays where certificates are issued
 *     FOLDER/HOST.pem  HOST.key     one pair for each host, to be copied there together with ca.pem
 *
 * Keys are EC P-256 in PKCS#8, mode 0600. A host certificate serves as client and as server and carries the host name
 * as common name and as DNS name (core/wire/peer-name.ts checks both). Nothing is ever overwritten.
 */
import { randomBytes, webcrypto } from 'node:crypto';
import { link, mkdir, open, readFile, stat, unlink } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import './reflect-metadata.ts';
import * as x509 from '@peculiar/x509';
import { isHostName } from '../../core/wire/peer-name.ts';
import { PkiError } from './errors.ts';

const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' } as const;
const EKU_SERVER = '1.3.6.1.5.5.7.3.1';
const EKU_CLIENT = '1.3.6.1.5.5.7.3.2';
const DAY_MS = 24 * 3600 * 1000;
/** Clocks of hosts differ: certificates are valid a little before they are made. */
const BACKDATE_MS = 3600 * 1000;
export const CERTIFICATE_DAYS_MAX = 36_500;

x509.cryptoProvider.set(webcrypto);

export type CertificateFiles = { readonly certFile: string; readonly keyFile: string };

export type AuthorityRequest = {
  readonly folder: string;
  /** Common name of the authority, for people. */
  readonly name: string;
  readonly days: number;
  /** Start of validity; now, less an hour for clocks that differ, unless given. */
  readonly notBefore?: Date;
};

/**
 * Makes the authority of a fleet in `folder`, which is created when missing. Throws PkiError: PKI_EXISTS, PKI_DAYS,
 * PKI_FOLDER.
 */
export async function createAuthority(request: AuthorityRequest): Promise<CertificateFiles> {
  const validity = validityOf(request);
  const files = authorityFiles(request.folder);
  await makeFolder(request.folder);
  await refuseExisting(files);
  const keys = await webcrypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: [request.name] }],
    ...validity,
    signingAlgorithm,
    keys,
    extensions: [
      // Path length 0: host certificates cannot sign further ones.
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  await writePair(files, certificate, keys.privateKey);
  return files;
}

export type HostCertificateRequest = {
  /** Where the authority lies and the host's files are written. */
  readonly folder: string;
  readonly host: string;
  /** IP addresses of the host, for programs that check these; vmferry itself goes by the name. */
  readonly addresses?: readonly string[];
  readonly days: number;
  readonly notBefore?: Date;
};

/**
 * Issues the certificate of one host. The end of its validity is cut to that of the authority. Throws PkiError:
 * PKI_HOST_NAME, PKI_ADDRESS, PKI_DAYS, PKI_NO_AUTHORITY, PKI_AUTHORITY_EXPIRED, PKI_EXISTS.
 */
export async function issueHostCertificate(request: HostCertificateRequest): Promise<CertificateFiles> {
  const { folder, host, addresses = [] } = request;
  if (!isHostName(host) || host === 'ca') {
    const rule = 'use a lower-case DNS name of at most 63 characters, like "host1", other than "ca"';
    throw new PkiError('PKI_HOST_NAME', `"${host}" cannot be the name of a host: ${rule}`, { host });
  }
  for (const address of addresses) {
    if (isIP(address) === 0) throw new PkiError('PKI_ADDRESS', `"${address}" is not an IP address`, { address });
  }
  const validity = validityOf(request);
  const authority = await loadAuthority(folder);
  if (authority.certificate.notAfter.getTime() <= Date.now()) {
    const when = authority.certificate.notAfter.toISOString();
    throw new PkiError('PKI_AUTHORITY_EXPIRED', `The authority in ${folder} expired on ${when}: make a new one`);
  }
  const files = hostFiles(folder, host);
  await refuseExisting(files);
  const keys = await webcrypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);
  const alternative = [
    { type: 'dns', value: host } as const,
    ...addresses.map((value) => ({ type: 'ip', value }) as const),
  ];
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: [{ CN: [host] }],
    issuer: authority.certificate.subjectName,
    notBefore: validity.notBefore,
    notAfter: new Date(Math.min(validity.notAfter.getTime(), authority.certificate.notAfter.getTime())),
    signingAlgorithm,
    publicKey: keys.publicKey,
    signingKey: authority.key,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([EKU_SERVER, EKU_CLIENT]),
      new x509.SubjectAlternativeNameExtension(alternative),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(authority.certificate.publicKey),
    ],
  });
  await writePair(files, certificate, keys.privateKey);
  return files;
}

export const authorityFiles = (folder: string): CertificateFiles => ({
  certFile: join(folder, 'ca.pem'),
  keyFile: join(folder, 'ca.key'),
});

export const hostFiles = (folder: string, host: string): CertificateFiles => ({
  certFile: join(folder, `${host}.pem`),
  keyFile: join(folder, `${host}.key`),
});

type Authority = { readonly certificate: x509.X509Certificate; readonly key: webcrypto.CryptoKey };

async function loadAuthority(folder: string): Promise<Authority> {
  const files = authorityFiles(folder);
  try {
    const [certPem, keyPem] = await Promise.all([readFile(files.certFile, 'utf8'), readFile(files.keyFile, 'utf8')]);
    const raw = x509.PemConverter.decodeFirst(keyPem);
    const key = await webcrypto.subtle.importKey('pkcs8', raw, keyAlgorithm, false, ['sign']);
    return { certificate: new x509.X509Certificate(certPem), key };
  } catch (cause) {
    const advice = 'make one with "vmferry pki init" or name the right folder';
    throw new PkiError(
      'PKI_NO_AUTHORITY',
      `There is no usable authority in ${folder}: ${advice}`,
      { folder },
      { cause },
    );
  }
}

type Validity = { readonly notBefore: Date; readonly notAfter: Date };

function validityOf(request: { readonly days: number; readonly notBefore?: Date }): Validity {
  const { days } = request;
  if (!Number.isInteger(days) || days < 1 || days > CERTIFICATE_DAYS_MAX) {
    throw new PkiError('PKI_DAYS', `${days} is not a validity in whole days from 1 to ${CERTIFICATE_DAYS_MAX}`, {
      days,
    });
  }
  const start = request.notBefore?.getTime() ?? Date.now();
  return {
    notBefore: request.notBefore ?? new Date(start - BACKDATE_MS),
    notAfter: new Date(start + days * DAY_MS),
  };
}

/** 127 random bits, positive and never zero, as RFC 5280 wants a serial number. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString('hex');
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new PkiError('PKI_FOLDER', `The folder ${folder} cannot be made`, { folder }, { cause });
  }
}

async function refuseExisting(files: CertificateFiles): Promise<void> {
  for (const file of [files.certFile, files.keyFile]) {
    const found = await stat(file).then(
      () => true,
      () => false,
    );
    if (found) throw exists(file);
  }
}

const exists = (file: string): PkiError =>
  new PkiError('PKI_EXISTS', `${file} exists and is not overwritten: remove it first if it is no longer needed`, {
    file,
  });

/** The key first: a certificate without its key is useless, the other way round is harmless. */
async function writePair(
  files: CertificateFiles,
  certificate: x509.X509Certificate,
  key: webcrypto.CryptoKey,
): Promise<void> {
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', key);
  await writeNew(files.keyFile, `${x509.PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`, 0o600);
  await writeNew(files.certFile, `${certificate.toString('pem')}\n`, 0o644);
}

/** Complete or not there, on disk when the promise is fulfilled, and never over an existing file. */
async function writeNew(file: string, text: string, mode: number): Promise<void> {
  const temporary = `${file}.${randomBytes(6).toString('hex')}.new`;
  try {
    const handle = await open(temporary, 'wx', mode);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await link(temporary, file);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') throw exists(file);
    throw new PkiError('PKI_FOLDER', `${file} cannot be written`, { file }, { cause });
  } finally {
    await unlink(temporary).catch(() => undefined);
  }
}
