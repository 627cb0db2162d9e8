/**
 * Host names and the identity that a peer's certificate carries.
 *
 * A host certificate has the host's name twice: as the one common name of the subject and as a DNS entry of the subject
 * alternative names. Both must agree; IP entries are ignored, because hosts are known by name, whatever their address.
 * Whether a trusted authority signed the certificate is checked by TLS before this code sees it.
 */
import { ControlWireError } from './errors.ts';

const label = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';
const hostName = new RegExp(`^${label}(?:\\.${label})*$`);

/** Lower-case DNS names: labels of letters, digits and dashes; at most 63 characters, as the common name demands. */
export function isHostName(text: string): boolean {
  return text.length <= 63 && hostName.test(text) && !/(^|\.)\d+$/.test(text);
}

/** The fields of Node's `getPeerCertificate()` that are looked at. */
export type PeerCertificateFields = {
  readonly subject?: { readonly CN?: string | readonly string[] | undefined } | undefined;
  /** Like `DNS:alpha, IP Address:10.0.0.1`. */
  readonly subjectaltname?: string | undefined;
};

/**
 * The host name that a certificate stands for. Throws ControlWireError WIRE_PEER_NAME when it has none, when common name
 * and alternative names disagree, or when it is not the expected one.
 */
export function peerNameOf(certificate: PeerCertificateFields, expected?: string): string {
  const commonName = certificate.subject?.CN;
  const names = dnsNamesOf(certificate.subjectaltname ?? '');
  if (typeof commonName !== 'string' || !isHostName(commonName) || !names.includes(commonName)) {
    const shown = JSON.stringify(commonName ?? null).slice(0, 80);
    throw new ControlWireError(
      'WIRE_PEER_NAME',
      `The certificate is not a host certificate: its common name is ${shown}, its DNS names are ${names.join(', ').slice(0, 200) || 'none'}`,
    );
  }
  if (expected !== undefined && commonName !== expected) {
    throw new ControlWireError(
      'WIRE_PEER_NAME',
      `The certificate is that of host ${commonName}, expected ${expected}`,
      {
        actual: commonName,
        expected,
      },
    );
  }
  return commonName;
}

/**
 * DNS entries of Node's text form. Node quotes an entry that contains a comma or other odd characters, so a quote means
 * that somebody tries to smuggle an entry: such a certificate has no names.
 */
function dnsNamesOf(subjectAltName: string): string[] {
  if (subjectAltName.includes('"')) return [];
  return subjectAltName
    .split(', ')
    .filter((entry) => entry.startsWith('DNS:'))
    .map((entry) => entry.slice(4));
}
