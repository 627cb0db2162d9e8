/** The first message on a control connection, the same from both sides: who is there, and does it speak our version. */
import { PROTOCOL_VERSION } from '../../core/wire/control-messages.ts';
import type { ControlConnection, ExpectOptions } from './control-connection.ts';
import { LinkError } from './errors.ts';
import { peerRejectsUs } from './tls-errors.ts';

export type LocalHello = {
  readonly host: string;
  /** For people: `vmferry 0.1.0`. */
  readonly software: string;
  readonly features: readonly string[];
  /** The version spoken; only tests have another one. */
  readonly protocolVersion?: number;
};

/**
 * Sends our hello and waits for the peer's; both sides send at once. Throws LINK_VERSION on both sides when the versions
 * differ, LINK_PEER_REFUSED when the peer says why it does not talk to us, LINK_CERTIFICATE when it leaves without a
 * word. The caller closes the connection, which still delivers our hello.
 */
export async function exchangeHello(
  connection: ControlConnection,
  local: LocalHello,
  options: ExpectOptions,
): Promise<void> {
  const version = local.protocolVersion ?? PROTOCOL_VERSION;
  const { host, software, features } = local;
  const peer = connection.peerName;
  try {
    await connection.send({ type: 'hello', protocolVersion: version, features: [...features], software, host });
    const { message: hello } = await connection.expect(['hello'], options);
    if (hello.protocolVersion !== version) {
      const theirs = `${peer} (${hello.software}) speaks version ${hello.protocolVersion} of the protocol`;
      const text = `${theirs}, ${host} (${software}) speaks version ${version}: run the same release on both hosts`;
      throw new LinkError('LINK_VERSION', text, { peer, theirs: hello.protocolVersion, ours: version });
    }
    if (hello.host !== peer) {
      const text = `The host with the certificate of ${peer} calls itself ${hello.host}: check its configuration`;
      throw new LinkError('LINK_PROTOCOL', text, { peer, actual: hello.host });
    }
    connection.begin(hello);
  } catch (error) {
    throw explain(error, connection);
  }
}

function explain(error: unknown, connection: ControlConnection): unknown {
  if (!(error instanceof LinkError)) return error;
  if (error.code === 'LINK_PEER_FAILED') {
    return new LinkError('LINK_PEER_REFUSED', error.message, error.fields, { cause: error.cause });
  }
  if (error.code === 'LINK_LOST' && connection.receivedBytes === 0) return peerRejectsUs(connection.peerName, error);
  return error;
}
