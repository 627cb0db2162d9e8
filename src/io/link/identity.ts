/**
 * What a host shows to its peers: certificate, key and the authority that it trusts, loaded and checked at start, so that
 * a mistake is a message here and not a broken handshake somewhere else.
 */
import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { peerNameOf } from '../../core/wire/peer-name.ts';
import { IdentityError } from './errors.ts';

/** PEM texts. Structurally the same as TlsIdentity of app/ferry and LaneTls of io/lanes. */
export type TlsMaterial = { readonly certPem: string; readonly keyPem: string; readonly caPem: string };

export type Identity = TlsMaterial & {
  /** Host name in the certificate. */
  readonly name: string;
  readonly notAfter: Date;
};

export type IdentityFiles = { readonly certFile: string; readonly keyFile: string; readonly caFile: string };

/**
 * Loads and checks a host's identity. Throws IdentityError: IDENTITY_MISSING, IDENTITY_UNREADABLE (also: not PEM),
 * IDENTITY_EXPIRED, IDENTITY_NOT_YET_VALID, IDENTITY_WRONG_CA, IDENTITY_KEY_MISMATCH, IDENTITY_NAME.
 */
export async function loadIdentity(files: IdentityFiles): Promise<Identity> {
  const [certPem, keyPem, caPem] = await Promise.all([
    readText(files.certFile, 'host certificate'),
    readText(files.keyFile, 'private key'),
    readText(files.caFile, 'authority'),
  ]);
  const certificate = parse(files.certFile, () => new X509Certificate(certPem));
  const authority = parse(files.caFile, () => new X509Certificate(caPem));
  const key = parse(files.keyFile, () => createPrivateKey(keyPem));
  checkKey(files, certificate, key);
  if (!authority.ca || !certificate.checkIssued(authority) || !certificate.verify(authority.publicKey)) {
    const advice = 'issue a new one with this authority, or use the ca.pem that came with it';
    throw new IdentityError(
      'IDENTITY_WRONG_CA',
      `${files.certFile} was not signed by the authority ${files.caFile}: ${advice}`,
    );
  }
  checkDates(files.caFile, authority);
  checkDates(files.certFile, certificate);
  return { certPem, keyPem, caPem, name: nameOf(files.certFile, certificate), notAfter: certificate.validToDate };
}

/** The host name in a certificate given as PEM, or null when it cannot be told. */
export function hostNameOfPem(certPem: string): string | null {
  try {
    return nameOf('', new X509Certificate(certPem));
  } catch {
    return null;
  }
}

/**
 * What this host itself can find wrong with its certificate, as the end of a sentence, or null. For the moment when a
 * peer has refused it: certificates expire while an agent runs.
 */
export function ownCertificateProblem(tls: TlsMaterial): string | null {
  try {
    const certificate = new X509Certificate(tls.certPem);
    const { validFromDate, validToDate } = certificate;
    if (validToDate.getTime() <= Date.now()) return `it expired on ${validToDate.toISOString()}: issue a new one`;
    if (validFromDate.getTime() > Date.now()) return `it is valid from ${validFromDate.toISOString()} only`;
    return certificate.verify(new X509Certificate(tls.caPem).publicKey)
      ? null
      : 'it was not signed by the authority that this host itself trusts: issue one with that';
  } catch {
    return 'it cannot be read';
  }
}

async function readText(file: string, what: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    const advice = missing
      ? 'is not there: issue it with "vmferry pki" and copy it to this host'
      : 'cannot be read: check its owner and mode';
    const code = missing ? 'IDENTITY_MISSING' : 'IDENTITY_UNREADABLE';
    throw new IdentityError(code, `The ${what} ${file} ${advice}`, { file }, { cause });
  }
}

function parse<T>(file: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new IdentityError('IDENTITY_UNREADABLE', `${file} does not hold what it should, in PEM`, { file }, { cause });
  }
}

function checkKey(files: IdentityFiles, certificate: X509Certificate, key: KeyObject): void {
  if (certificate.checkPrivateKey(key)) return;
  throw new IdentityError('IDENTITY_KEY_MISMATCH', `The key ${files.keyFile} does not belong to ${files.certFile}`);
}

function checkDates(file: string, certificate: X509Certificate): void {
  const now = Date.now();
  const { validFromDate, validToDate } = certificate;
  if (validToDate.getTime() <= now) {
    const when = validToDate.toISOString();
    throw new IdentityError('IDENTITY_EXPIRED', `The certificate ${file} expired on ${when}: issue a new one`, {
      file,
    });
  }
  if (validFromDate.getTime() > now) {
    const when = validFromDate.toISOString();
    const message = `The certificate ${file} is valid from ${when} only: check the clock of this host`;
    throw new IdentityError('IDENTITY_NOT_YET_VALID', message, { file });
  }
}

function nameOf(file: string, certificate: X509Certificate): string {
  const CN = /^CN=(.*)$/m.exec(certificate.subject)?.[1];
  try {
    return peerNameOf({ subject: { CN }, subjectaltname: certificate.subjectAltName });
  } catch (cause) {
    throw new IdentityError('IDENTITY_NAME', `${file} is not the certificate of a host`, { file }, { cause });
  }
}
