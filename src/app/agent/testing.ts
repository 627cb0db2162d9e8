/** Stand-ins for tests of this room: a QEMU without processes, a ferry without a link, an agent in a temporary folder. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sampleReport, sampleView } from '../../core/api/testing.ts';
import type { MigrationOptions, MigrationReport, MigrationView, Outcome } from '../../core/model/migration.ts';
import type { MovePlan, PlanWish } from '../../core/model/plan.ts';
import { vmSpecSchema } from '../../core/model/vm.ts';
import type { Problem, VmSpec } from '../../core/model/vm.ts';
import { silentLogger } from '../../io/log/logger.ts';
import type { FerryHost, MigrationRequest, RunningMigration } from '../ferry/ports.ts';
import { startAgent } from './agent.ts';
import type { RunningAgent } from './agent.ts';
import { parseConfig } from './config.ts';
import type { AgentConfig } from './config.ts';
import type { FerryPort } from './migrations.ts';
import type { GuestState, QemuFacts, QemuInspection, QemuPort, QemuStart, RunningQemu } from './qemu-port.ts';

export class FakeQemu implements QemuPort {
  readonly alive = new Set<number>();
  readonly started: QemuStart[] = [];
  readonly cleaned: string[] = [];
  state: GuestState = 'running';
  powersDown = true;
  userfaultfd: string | null = null;
  version = '10.0.2';
  failStart: Error | null = null;
  inspection: QemuInspection | null = null;
  #nextPid = 1000;

  async facts(): Promise<QemuFacts> {
    const machines = [
      { name: 'pc-q35-10.0', alias: 'q35' },
      { name: 'pc-q35-7.2', alias: null },
    ];
    return await Promise.resolve({ version: this.version, machines, cpus: new Set(['EPYC']) });
  }

  async kvmWorks(): Promise<boolean> {
    return await Promise.resolve(false);
  }

  async userfaultfdProblem(): Promise<string | null> {
    return await Promise.resolve(this.userfaultfd);
  }

  async start(request: QemuStart): Promise<RunningQemu> {
    await Promise.resolve();
    if (this.failStart !== null) throw this.failStart;
    this.started.push(request);
    const pid = this.#nextPid++;
    this.alive.add(pid);
    return {
      pid,
      startTicks: 7,
      qmpPath: `${request.runFolder}/qmp.sock`,
      qgaPath: null,
      machine: 'pc-q35-10.0',
      qemuVersion: '10.0.2',
      accelerator: 'tcg',
    };
  }

  async inspect(): Promise<QemuInspection> {
    await Promise.resolve();
    if (this.inspection === null) throw new Error('no such monitor');
    this.alive.add(this.inspection.pid);
    return this.inspection;
  }

  foundAgain(): void {
    // Nothing of it speaks.
  }

  isAlive({ pid }: { readonly pid: number }): boolean {
    return this.alive.has(pid);
  }

  async guestState(): Promise<GuestState> {
    return await Promise.resolve(this.state);
  }

  async powerDown(): Promise<void> {
    if (this.powersDown) this.alive.clear();
    await Promise.resolve();
  }

  async end({ pid }: { readonly pid: number }): Promise<void> {
    this.alive.delete(pid);
    await Promise.resolve();
  }

  async waitForEnd({ pid }: { readonly pid: number }): Promise<boolean> {
    return await Promise.resolve(!this.alive.has(pid));
  }

  async cleanUp(spec: VmSpec): Promise<void> {
    this.cleaned.push(spec.name);
    await Promise.resolve();
  }
}

/** Migrations that go on until the test ends them. */
export class FakeFerry implements FerryPort {
  problems: Problem[] = [];
  tooLate = false;
  leftUndone: { id: string; vm: string }[] = [];
  arriving: MigrationView[] = [];
  readonly resolved: string[] = [];
  readonly options: MigrationOptions[] = [];
  readonly requests: MigrationRequest[] = [];
  readonly running: { id: string; end: (outcome: Outcome, change?: Partial<MigrationReport>) => Promise<void> }[] = [];

  start(host: FerryHost, request: MigrationRequest): RunningMigration {
    const { id, vm, destination } = request;
    this.options.push(request.options);
    this.requests.push(request);
    return this.#run(id, vm.name, async () => await host.vmHandedOver(vm.name, destination.name));
  }

  async preflight(): Promise<Problem[]> {
    return await Promise.resolve(this.problems);
  }

  /** Plans wait until the test gives them one, or they are given up. */
  readonly plans: { readonly wish: PlanWish; readonly give: (plan: MovePlan | Error) => void }[] = [];

  async plan(_host: FerryHost, _request: MigrationRequest, wish: PlanWish, signal: AbortSignal): Promise<MovePlan> {
    const { promise, resolve, reject } = Promise.withResolvers<MovePlan>();
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    const give = (plan: MovePlan | Error): void => (plan instanceof Error ? reject(plan) : resolve(plan));
    this.plans.push({ wish, give });
    return await promise;
  }

  recovered(): readonly RunningMigration[] {
    return this.leftUndone.map(({ id, vm }) => this.#run(id, vm, async () => undefined));
  }

  arrivals(): readonly MigrationView[] {
    return this.arriving;
  }

  linkBytesPerS(): number | null {
    return null;
  }

  resolve(migrationId: string, word: string): void {
    this.resolved.push(`${migrationId} ${word}`);
  }

  #run(id: string, vm: string, onCompleted: () => Promise<void>): RunningMigration {
    const done = Promise.withResolvers<MigrationReport>();
    const end = async (outcome: Outcome, change: Partial<MigrationReport> = {}): Promise<void> => {
      if (outcome === 'completed') await onCompleted();
      done.resolve(sampleReport({ id, vm, outcome, ...change }));
    };
    this.running.push({ id, end });
    return {
      id,
      view: () => sampleView({ id, vm }),
      cancel: () => {
        if (!this.tooLate) void end('aborted');
        return !this.tooLate;
      },
      done: done.promise,
    };
  }
}

export type TestAgent = {
  readonly config: AgentConfig;
  readonly qemu: FakeQemu;
  readonly ferry: FakeFerry;
  /** The host as migrations see it, of the agent that was started last. */
  readonly host: () => FerryHost;
  readonly folder: string;
  /** Starts it again on the same state folder, as after a crash of the agent (the old one must have been stopped). */
  readonly restart: () => Promise<RunningAgent>;
  readonly agent: RunningAgent;
  readonly remove: () => Promise<void>;
};

export async function startTestAgent(change: Record<string, unknown> = {}): Promise<TestAgent> {
  const folder = mkdtempSync(join(tmpdir(), 'vmferry-agent-'));
  const config = parseConfig(JSON.stringify({ ...sampleConfig, ...change }), join(folder, 'agent.yaml'));
  const qemu = new FakeQemu();
  const ferry = new FakeFerry();
  let host: FerryHost | null = null;
  const start = async (): Promise<RunningAgent> =>
    await startAgent(config, {
      version: '0.0.0',
      tls: {
        certPem: '',
        keyPem: '',
        caPem: '',
      },
      log: silentLogger,
      qemu,
      ferry,
      peerService: (made) => {
        host = made;
        return {
          recover: async () => undefined,
          listen: async () => undefined,
          close: async () => undefined,
        };
      },
    });
  const agents = [await start()];
  return {
    config,
    qemu,
    ferry,
    folder,
    agent: agents[0] as RunningAgent,
    host: () => {
      if (host === null) throw new Error('the agent made no host');
      return host;
    },
    restart: async () => {
      const again = await start();
      agents.push(again);
      return again;
    },
    remove: async () => {
      for (const agent of agents) await agent.stop();
      rmSync(folder, {
        recursive: true,
        force: true,
      });
    },
  };
}

export const sampleConfig = {
  name: 'host-a',
  stateFolder: 'state',
  socket: 'agent.sock',
  tls: { cert: 'a.pem', key: 'a.key', ca: 'ca.pem' },
  peers: { 'host-b': { host: '198.18.0.2' } },
  capacity: { memory: '4GiB', vcpus: 8 },
};

export function sampleSpec(change: Record<string, unknown> = {}): VmSpec {
  return vmSpecSchema.parse({ name: 'web', memory: '1GiB', vcpus: 2, ...change });
}
