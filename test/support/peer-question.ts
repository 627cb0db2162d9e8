/**
 * Asks an agent over the port where it listens for hosts, as one of them; for a lab's host, from inside its network.
 *
 *     node peer-question.ts '{"tls": {"certPem": ..., ...}, "peer": {"name": ..., "host": ..., "port": ...}}'   answer, or {"error": CODE, "message"}
 */
import { AgentClient } from '../../src/app/client/agent-client.ts';
import { tlsTransport, type PeerPlace } from '../../src/app/client/tls-transport.ts';

type Question = {
  readonly tls: Parameters<typeof tlsTransport>[0];
  readonly peer: PeerPlace;
};

const { tls, peer } = JSON.parse(process.argv[2] ?? '') as Question;
const client = new AgentClient(tlsTransport(tls, peer));
const say = (answer: object): void => void process.stdout.write(JSON.stringify(answer));
try {
  say(await client.call('telemetry', {}));
} catch (error) {
  const { code, message } = error as Error & { readonly code: string };
  say({ error: code, message });
}
await client.close();
