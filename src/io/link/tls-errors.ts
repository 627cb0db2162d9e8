/** What Node and OpenSSL report about a connection, as errors that say what to do. */
import { AppError } from '../../core/base/errors.ts';
import { LinkError } from './errors.ts';

/** OpenSSL's verification results, as Node names them, in the words of a person. The subject is "its certificate". */
const verifyProblems: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'has expired: issue a new one',
  CERT_NOT_YET_VALID: 'is not valid yet: compare the clocks of the two hosts',
  CERT_SIGNATURE_FAILURE: 'was signed by another authority: both hosts need certificates of the same one',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'was signed by another authority: both hosts need certificates of the same one',
  UNABLE_TO_GET_ISSUER_CERT: 'was signed by another authority: both hosts need certificates of the same one',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'was signed by another authority: both hosts need certificates of the same one',
  SELF_SIGNED_CERT_IN_CHAIN: 'was signed by another authority: both hosts need certificates of the same one',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'is signed by itself: issue one with the authority of this fleet',
  INVALID_PURPOSE: 'is not meant for this use: issue one with "vmferry pki"',
  CERT_REVOKED: 'has been revoked',
  CERT_UNTRUSTED: 'is not trusted',
  CERT_REJECTED: 'is not trusted',
  INVALID_CA: 'was signed by something that is no authority',
  PATH_LENGTH_EXCEEDED: 'was signed by something that is no authority',
};

/** What a verification code means, or null when the code is about something else. */
export function verifyProblem(code: string): string | null {
  return (
    verifyProblems[code] ?? (/^(CERT_|UNABLE_TO_|CRL_|ERROR_IN_CERT)/.test(code) ? `is not valid (${code})` : null)
  );
}

export const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';

/** True when the peer said by a TLS alert that it does not accept our certificate. */
export const isCertificateAlert = (code: string): boolean =>
  /^ERR_SSL_.*ALERT_(.*CERTIFICATE.*|UNKNOWN_CA|ACCESS_DENIED)$/.test(code);

/** Why an established connection ended: `null` when the peer closed it without an error. */
export function connectionErrorOf(error: Error | null, peer: string): LinkError {
  const fields = { peer };
  if (error instanceof LinkError) return error;
  if (error === null) return new LinkError('LINK_LOST', `${peer} closed the connection`, fields);
  const code = codeOf(error);
  if (isCertificateAlert(code)) return peerRejectsUs(peer, error);
  if (code === 'ECONNRESET' || code === 'EPIPE') {
    const message = `${peer} reset the connection: its agent ended or the network was interrupted`;
    return new LinkError('LINK_LOST', message, fields, { cause: error });
  }
  const broken = code.startsWith('ERR_SSL_') || error instanceof AppError;
  const message = broken ? `The connection to ${peer} carried damaged data` : `The connection to ${peer} was lost`;
  return new LinkError(broken ? 'LINK_PROTOCOL' : 'LINK_LOST', message, fields, { cause: error });
}

/**
 * Node's TLS server checks client certificates after the handshake and then closes without an alert, so a peer that
 * leaves at that point, without a word of the protocol, has looked at our certificate and did not like it. `problem` is
 * what this side can find wrong with it.
 */
export function peerRejectsUs(peer: string, cause: unknown, problem: string | null = null): LinkError {
  const guess =
    'it trusts another authority, or its clock says that the certificate is not valid. Use certificates of the same ' +
    `authority on both hosts and compare their clocks; the log of ${peer} has the details`;
  const message = `${peer} did not accept the certificate of this host: ${problem ?? guess}`;
  return new LinkError('LINK_CERTIFICATE', message, { peer, whose: 'ours' }, { cause });
}
