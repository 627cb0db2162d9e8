/** The agent of one lab host: its certificate, its configuration file, its process. */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { authorityFiles, createAuthority, hostFiles, issueHostCertificate } from '../../io/link/pki.ts';
import { LabError } from './errors.ts';
import { endProcesses, isRunning, processOf } from './host-processes.ts';
import type { RecordedProcess } from './host-processes.ts';
import { projectFolder } from './plan.ts';
import type { LabHostPlan, LabPlan } from './plan.ts';

const CERTIFICATE_DAYS = 365;
const START_TIMEOUT_MS = 20_000;
/** An agent that is asked to stop aborts or finishes a migration first. */
const STOP_GRACE_MS = 10_000;
const ANSWER_TIMEOUT_MS = 1000;
const POLL_MS = 50;

/** Fields of an agent's configuration that replace the lab's own, for one host. */
export type ConfigOverrides = Readonly<Record<string, unknown>>;

/** The authority of the lab and a certificate for each host, where they are not there yet. */
export async function ensureCertificates(plan: LabPlan): Promise<void> {
  const { pkiFolder: folder } = plan;
  if (!existsSync(authorityFiles(folder).certFile)) {
    await createAuthority({ folder, name: `vmferry lab ${plan.name}`, days: CERTIFICATE_DAYS });
  }
  for (const { name: host, address } of plan.hosts) {
    if (existsSync(hostFiles(folder, host).certFile)) continue;
    await issueHostCertificate({ folder, host, addresses: [address], days: CERTIFICATE_DAYS });
  }
}

export function writeAgentConfig(plan: LabPlan, host: LabHostPlan, overrides: ConfigOverrides): void {
  const others = plan.hosts.filter((other) => other !== host);
  const files = hostFiles(plan.pkiFolder, host.name);
  const binary = defaultQemu();
  const config = {
    name: host.name,
    stateFolder: host.stateFolder,
    socket: host.socket,
    listen: { address: host.address, port: 7443 },
    lanes: { address: host.address },
    tls: { cert: files.certFile, key: files.keyFile, ca: authorityFiles(plan.pkiFolder).certFile },
    trust: others.map((other) => other.name),
    peers: Object.fromEntries(others.map((other) => [other.name, { host: other.address, port: 7443 }])),
    qemu: { binary, img: binary.includes('/') ? join(dirname(binary), 'qemu-img') : 'qemu-img' },
    log: { level: 'debug', file: join(host.folder, 'agent.log') },
    ...overrides,
  };
  mkdirSync(host.stateFolder, { recursive: true, mode: 0o700 });
  writeFileSync(host.configFile, stringify(config), { mode: 0o600 });
}

/** QEMU 10 of the set-up where it is there, else the system's. */
export function defaultQemu(): string {
  const binary = join(projectFolder, '.cache/qemu-10/bin/qemu-system-x86_64');
  return existsSync(binary) ? binary : 'qemu-system-x86_64';
}

/**
 * Starts the host's agent inside its namespace, detached, and waits until it answers on its socket. `onStarted` gets the
 * process at once, so that it is on record before anything can fail. Throws LabError LAB_AGENT_FAILED with the end of
 * what the agent said.
 */
export async function startAgent(host: LabHostPlan, onStarted: (agent: RecordedProcess) => void): Promise<void> {
  const program = join(projectFolder, 'bin/vmferry');
  // A socket that an agent left behind would be taken for the new one's.
  if (!(await agentAnswers(host))) rmSync(host.socket, { force: true });
  const output = openSync(host.agentLog, 'a', 0o600);
  // "ip netns exec" replaces itself by the program, and so does bin/vmferry: the pid is the agent's.
  const child = spawn('ip', ['netns', 'exec', host.namespace, program, 'agent', '--config', host.configFile], {
    detached: true,
    stdio: ['ignore', output, output],
  });
  closeSync(output);
  const fate = { ended: false, how: `does not answer after ${START_TIMEOUT_MS} ms` };
  child.once('error', (error) => Object.assign(fate, { ended: true, how: `cannot start: ${error.message}` }));
  child.once('exit', (code, signal) =>
    Object.assign(fate, { ended: true, how: `ended with ${signal ?? `code ${code}`}` }),
  );
  child.unref();
  const agent = child.pid === undefined ? null : processOf(child.pid);
  if (agent !== null) onStarted(agent);
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (!fate.ended && performance.now() < deadline) {
    if (await agentAnswers(host)) return;
    await sleep(POLL_MS);
  }
  const said = existsSync(host.agentLog)
    ? readFileSync(host.agentLog, 'utf8').trim().split('\n').slice(-8).join('\n')
    : '';
  const text = `The agent of host ${host.name} ${fate.how}: ${said}`;
  throw new LabError('LAB_AGENT_FAILED', text, { host: host.name, log: host.agentLog });
}

/** Ends an agent: SIGTERM first, so that it can finish, SIGKILL after a while. */
export async function stopAgent(agent: RecordedProcess | null): Promise<void> {
  if (agent !== null && isRunning(agent)) await endProcesses([agent], STOP_GRACE_MS);
}

/** Whether something serves HTTP on the host's socket. */
export async function agentAnswers(host: LabHostPlan): Promise<boolean> {
  return await new Promise((resolve) => {
    const options = { socketPath: host.socket, path: '/healthz', timeout: ANSWER_TIMEOUT_MS };
    const asked = request(options, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200);
    });
    asked.on('timeout', () => asked.destroy(new Error('no answer')));
    asked.on('error', () => resolve(false));
    asked.end();
  });
}
