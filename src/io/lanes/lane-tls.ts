/**
 * TLS of lane connections: 1.3 only, both sides show a certificate of the project's authority, and the name in it must
 * be the one that the migration expects. The address that was dialled does not matter.
 */
import type { ConnectionOptions, PeerCertificate, TLSSocket, TlsOptions } from 'node:tls';
import { LANE_ALPN } from '../../core/wire/lane-frame.ts';
import { peerNameOf } from '../../core/wire/peer-name.ts';
import { LaneError, toLaneError } from './errors.ts';
import type { LaneTls, SourceLaneInit } from './lane-protocol.ts';

export const HANDSHAKE_MS_MAX = 10_000;

export function sourceTlsOptions(init: SourceLaneInit): ConnectionOptions {
  return {
    ...identity(init.tls),
    host: init.host,
    port: init.port,
    servername: init.peerName,
    checkServerIdentity: (_name, certificate) => nameError(certificate, init.peerName),
  };
}

export function destinationTlsOptions(tls: LaneTls): TlsOptions {
  return { ...identity(tls), requestCert: true, handshakeTimeout: HANDSHAKE_MS_MAX };
}

function identity(tls: LaneTls) {
  return {
    cert: tls.certPem,
    key: tls.keyPem,
    ca: tls.caPem,
    minVersion: 'TLSv1.3',
    ALPNProtocols: [LANE_ALPN],
  } as const;
}

/** What is wrong with a connected peer, or undefined. */
export function peerError(socket: TLSSocket, peerName: string): LaneError | undefined {
  if (socket.alpnProtocol !== LANE_ALPN) {
    return new LaneError('LANE_PROTOCOL', `The peer speaks ${socket.alpnProtocol || 'no named protocol'}`);
  }
  return nameError(socket.getPeerCertificate(), peerName);
}

function nameError(certificate: PeerCertificate, peerName: string): LaneError | undefined {
  try {
    peerNameOf(certificate, peerName);
    return undefined;
  } catch (error) {
    return toLaneError(error, 'LANE_CERTIFICATE');
  }
}

/** Codes of OpenSSL and Node that mean "I do not trust this certificate", ours or theirs. */
const certificateCodes =
  /CERT|^ERR_SSL_.*ALERT_(UNKNOWN_CA|BAD_CERTIFICATE|ACCESS_DENIED|DECRYPT_ERROR)|UNABLE_TO_|^ERR_TLS_CERT|SELF_SIGNED/;

/** An error of a socket to `peer` as a LaneError: a matter of certificates, or of the connection. */
export function socketError(
  error: Error & { code?: unknown },
  code: 'LANE_CONNECT' | 'LANE_CLOSED',
  peer: string,
): LaneError {
  if (error instanceof LaneError) return error;
  if (certificateCodes.test(String(error.code))) return toLaneError(error, 'LANE_CERTIFICATE');
  const text =
    code === 'LANE_CONNECT'
      ? `Cannot connect to ${peer}`
      : `The connection to ${peer} was lost: its agent ended or the network was interrupted`;
  return new LaneError(code, `${text} (${error.message})`, {}, { cause: error });
}
