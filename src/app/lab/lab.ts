/**
 * Two hosts on one machine: network namespaces with a shaped link between them, an agent in each (plan.ts has the drawing).
 *
 * Every function may be called again, and after a crash of anything: `labUp` keeps what is right and makes what is missing,
 * `labDown` removes whatever is left, found by namespace, by recorded process and by folder.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { constants } from 'node:os';
import { LabError } from './errors.ts';
import { agentAnswers, ensureCertificates, startAgent, stopAgent, writeAgentConfig } from './host-agent.ts';
import type { ConfigOverrides } from './host-agent.ts';
import { endProcesses, isRunning, processOf, signalProcess } from './host-processes.ts';
import type { RecordedProcess } from './host-processes.ts';
import { noAgents, readRecord, recordAgent, recordedQemus, writeRecord } from './lab-record.ts';
import {
  createNetwork,
  deleteNamespace,
  linkBytesOf,
  namespaceExists,
  pidsInNamespace,
  requireRights,
  setLinkUp,
  shapeLink,
} from './network.ts';
import type { LinkBytes } from './network.ts';
import { planLab } from './plan.ts';
import type { HostName, LabHostPlan, LabPlan, LinkName } from './plan.ts';

export type LabOptions = {
  /** Default `lab`. Labs of different names are independent of each other. */
  readonly name?: string;
  /** Rate in each direction; default `1gbit`. */
  readonly link?: LinkName;
  /** Added to each packet, in each direction: a round trip takes twice that. Default 0. */
  readonly delayMs?: number;
  /** Replaces top-level fields of a host's agent configuration. */
  readonly config?: Partial<Record<HostName, ConfigOverrides>>;
  /** false: only the network and the folders. Default true. */
  readonly agents?: boolean;
};

export type LabHostStatus = {
  readonly name: HostName;
  readonly namespace: string;
  readonly namespaceExists: boolean;
  readonly address: string;
  readonly socket: string;
  readonly stateFolder: string;
  readonly agentPid: number | null;
  readonly agentAnswers: boolean;
  /** Processes in the namespace: the agent, its QEMUs, what `lab run` started. */
  readonly processes: number;
};

export type LabStatus = {
  readonly name: string;
  /** Both namespaces exist and both agents answer. */
  readonly up: boolean;
  readonly link: LinkName | null;
  readonly delayMs: number | null;
  readonly hosts: readonly LabHostStatus[];
};

const END_GRACE_MS = 3000;

/**
 * Brings the lab up, or what is missing of it; link and delay are set anew on one that is up. Throws LabError; what was
 * made until then stays for a look at it, and for `labDown`.
 */
export async function labUp(options: LabOptions = {}): Promise<LabStatus> {
  requireRights();
  const plan = planLab(options.name);
  const { link = '1gbit', delayMs = 0, config = {} } = options;
  const isWhole = plan.hosts.every((host) => namespaceExists(host.namespace)) && readRecord(plan) !== null;
  if (!isWhole) await removeLab(plan);
  mkdirSync(plan.folder, { recursive: true });
  writeRecord(plan, { link, delayMs, agents: readRecord(plan)?.agents ?? noAgents });
  if (!isWhole) await createNetwork(plan);
  await shapeLink(plan, link, delayMs);
  await setLinkUp(plan, true);
  await ensureCertificates(plan);
  for (const host of plan.hosts) mkdirSync(host.stateFolder, { recursive: true, mode: 0o700 });
  await Promise.all(
    plan.hosts.map(async (host) => {
      if (await agentAnswers(host)) return;
      writeAgentConfig(plan, host, config[host.name] ?? {});
      if (options.agents ?? true) await startHostAgent(plan, host);
    }),
  );
  return await labStatus(plan.name);
}

/** Removes everything of the lab: processes, namespaces, folders. Removing one that is not there is no error. */
export async function labDown(name?: string): Promise<void> {
  const plan = planLab(name);
  if (!existsSync(plan.folder) && !plan.hosts.some((host) => namespaceExists(host.namespace))) return;
  requireRights();
  await removeLab(plan);
}

export async function labStatus(name?: string): Promise<LabStatus> {
  const plan = planLab(name);
  const record = readRecord(plan);
  const hosts = await Promise.all(
    plan.hosts.map(async (host): Promise<LabHostStatus> => {
      const agent = record?.agents[host.name] ?? null;
      return {
        name: host.name,
        namespace: host.namespace,
        namespaceExists: namespaceExists(host.namespace),
        address: host.address,
        socket: host.socket,
        stateFolder: host.stateFolder,
        agentPid: agent !== null && isRunning(agent) ? agent.pid : null,
        agentAnswers: await agentAnswers(host),
        processes: (await pidsInNamespace(host.namespace)).length,
      };
    }),
  );
  const up = hosts.every((host) => host.namespaceExists && host.agentAnswers);
  return { name: plan.name, up, link: record?.link ?? null, delayMs: record?.delayMs ?? null, hosts };
}

/** Runs a program on a lab host, with this process's input and output; returns its exit code, 128 + N for signal N. */
export async function labRun(host: string, argv: readonly string[], name?: string): Promise<number> {
  const { namespace } = hostOf(planLab(name), host);
  if (argv.length === 0) throw new LabError('LAB_OPTION', 'Name a program to run');
  const child = spawn('ip', ['netns', 'exec', namespace, ...argv], { stdio: 'inherit' });
  return await new Promise((resolve, reject) => {
    child.once('error', (cause) => reject(new LabError('LAB_COMMAND', 'Cannot run ip', {}, { cause })));
    child.once('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}

/** What each host's end of the link sent and received since the lab came up, see `linkBytesOf`. */
export async function labLinkBytes(name?: string): Promise<Record<HostName, LinkBytes>> {
  const [a, b] = planLab(name).hosts;
  return { a: await linkBytesOf(hostOfNamespace(a)), b: await linkBytesOf(hostOfNamespace(b)) };
}

/** Changes rate or delay of a lab that is up. */
export async function labSetLink(link: LinkName, delayMs = 0, name?: string): Promise<void> {
  const plan = planLab(name);
  const record = readRecord(plan);
  if (record === null) throw notUp(plan);
  await shapeLink(plan, link, delayMs);
  writeRecord(plan, { ...record, link, delayMs });
}

/** Cuts the link between the hosts, or joins it again. */
export async function labCutLink(cut: boolean, name?: string): Promise<void> {
  await setLinkUp(planLab(name), !cut);
}

/** Signals a host's agent, for tests of failures; tells whether it was running. SIGKILL does not touch its QEMUs. */
export function labSignalAgent(host: string, signal: NodeJS.Signals, name?: string): boolean {
  const plan = planLab(name);
  const agent = readRecord(plan)?.agents[hostOf(plan, host).name] ?? null;
  return agent !== null && signalProcess(agent, signal);
}

/** Starts a host's agent again, on the state that it left; its configuration file is kept. */
export async function labStartAgent(host: string, name?: string): Promise<void> {
  const plan = planLab(name);
  await startHostAgent(plan, hostOf(plan, host));
}

async function startHostAgent(plan: LabPlan, host: LabHostPlan): Promise<void> {
  await stopAgent(readRecord(plan)?.agents[host.name] ?? null);
  await startAgent(host, (agent) => recordAgent(plan, host.name, agent));
}

async function removeLab(plan: LabPlan): Promise<void> {
  const agents = Object.values(readRecord(plan)?.agents ?? {}).filter((agent) => agent !== null);
  // The agents first: one that lives would take the end of its QEMUs for a failure and act on it.
  await Promise.all(agents.map(stopAgent));
  const inNamespaces = await Promise.all(plan.hosts.map(async (host) => await pidsInNamespace(host.namespace)));
  const left = inNamespaces
    .flat()
    .map(processOf)
    .filter((one): one is RecordedProcess => one !== null);
  await endProcesses([...left, ...plan.hosts.flatMap(recordedQemus)], END_GRACE_MS);
  for (const host of plan.hosts) await deleteNamespace(host.namespace);
  rmSync(plan.folder, { recursive: true, force: true });
}

function hostOf(plan: LabPlan, name: string): LabHostPlan {
  const host = plan.hosts.find((one) => one.name === name);
  if (host === undefined) {
    throw new LabError('LAB_UNKNOWN_HOST', `Lab "${plan.name}" has the hosts a and b, no "${name}"`, { host: name });
  }
  return hostOfNamespace(host);
}

function hostOfNamespace(host: LabHostPlan): LabHostPlan {
  if (!namespaceExists(host.namespace)) {
    throw new LabError('LAB_NOT_UP', `Lab host ${host.name} is not there: run "vmferry lab up"`, { host: host.name });
  }
  return host;
}

function notUp(plan: LabPlan): LabError {
  return new LabError('LAB_NOT_UP', `Lab "${plan.name}" is not up: run "vmferry lab up"`, { lab: plan.name });
}
