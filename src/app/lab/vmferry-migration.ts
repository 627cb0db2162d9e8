/** A guest on a lab host, moved by vmferry: through the CLI, so that a person sees what it shows, or through the API. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { MigrationOptions, MigrationReport } from '../../core/model/migration.ts';
import type { VmSpec, VmView } from '../../core/model/vm.ts';
import { AgentClient } from '../client/agent-client.ts';
import { unixTransport } from '../client/unix-transport.ts';
import type { MoveFigures } from './comparison.ts';
import { LabError } from './errors.ts';
import { runPaths } from '../../io/qemu/run-paths.ts';
import type { MovableGuest } from './move-watch.ts';
import { projectFolder } from './plan.ts';
import type { HostName, LabPlan } from './plan.ts';

/** A start probes KVM once. */
const START_TIMEOUT_MS = 120_000;
/** Exit codes of `vmferry migrate` after which there is a report: completed, aborted, failed, in doubt. */
const codesWithReport: readonly (number | null)[] = [0, 5, 6, 7];

/** `all`: the CLI's progress and summary; `progress`: its progress, on a terminal only. */
export type MigrationShow = 'all' | 'progress' | 'nothing';

export class VmferryGuest implements MovableGuest {
  show: MigrationShow = 'nothing';
  /** Of moves through the API, `show` being `nothing`; what is not given has its default. */
  options: Partial<MigrationOptions> = {};
  /** Of moves through the API: whether a prediction is made before the migration is begun. */
  wantsPlan = false;
  /** Of the last move. */
  report: MigrationReport | null = null;
  readonly view: VmView;
  readonly #plan: LabPlan;
  readonly #signal: AbortSignal;
  #at: HostName = 'a';

  private constructor(plan: LabPlan, view: VmView, signal: AbortSignal) {
    this.#plan = plan;
    this.view = view;
    this.#signal = signal;
  }

  /** Starts it on host a. Throws ClientError, RefusalError. */
  static async start(plan: LabPlan, spec: VmSpec, signal: AbortSignal): Promise<VmferryGuest> {
    const view = await withAgent(
      plan,
      'a',
      async (client) => await client.call('startVm', { body: { spec } }, { timeoutMs: START_TIMEOUT_MS, signal }),
    );
    return new VmferryGuest(plan, view, signal);
  }

  /** Throws LabError LAB_COMMAND, ClientError or RefusalError when there is no report: nothing was begun, or it is not known. */
  async move(to: HostName): Promise<MoveFigures> {
    const from = this.#at;
    const report = this.show === 'nothing' ? await this.#moveByApi(from, to) : await this.#moveByCli(from, to);
    this.report = report;
    if (report.guest === 'running at destination') this.#at = to;
    const completed = report.outcome === 'completed';
    return {
      qemuVersion: this.view.qemuVersion ?? 'unknown',
      outcome: report.outcome,
      reason: report.reason,
      totalMs: completed ? report.totalMs : null,
      downtimeMs: completed ? report.downtimeMs : null,
      ...(completed && { pagesSent: report.pages.sent }),
      furtherMs: {
        totalWithoutReservation: report.totalMs - report.stagesMs.reservation,
        ...report.stagesMs,
      },
    };
  }

  async consoleFile(): Promise<string> {
    const call = { params: { name: this.view.name } };
    const { runFolder } = await withAgent(this.#plan, this.#at, async (client) => await client.call('showVm', call));
    return runPaths(runFolder).consoleLog;
  }

  async stop(): Promise<void> {
    const call = { params: { name: this.view.name }, body: { force: true } };
    await withAgent(this.#plan, this.#at, async (client) => await client.call('stopVm', call));
  }

  async #moveByApi(from: HostName, destination: HostName): Promise<MigrationReport> {
    const signal = this.#signal;
    const body = { vm: this.view.name, destination, options: this.options, plan: this.wantsPlan };
    return await withAgent(this.#plan, from, async (client) => {
      const { id } = await client.call('startMigration', { body }, { signal });
      for await (const event of client.events(id, { signal })) if (event.type === 'report') return event.report;
      throw new LabError('LAB_COMMAND', `Migration ${id} ended without a report`, { id });
    });
  }

  async #moveByCli(from: HostName, to: HostName): Promise<MigrationReport> {
    const vm = this.view.name;
    const cli = ['--disable-warning=ExperimentalWarning', join(projectFolder, 'src/app/cli/main.ts')];
    const argv = [...cli, '--socket', socketOf(this.#plan, from), 'migrate', vm, to];
    // In a session of its own: a Ctrl-C reaches it through us only, once, so that it ends the migration in order.
    const child =
      this.show === 'all'
        ? spawn(process.execPath, argv, { detached: true, stdio: 'inherit' })
        : spawn(process.execPath, [...argv, '--json'], { detached: true, stdio: ['ignore', 'ignore', 'inherit'] });
    const interrupt = (): void => void child.kill('SIGINT');
    this.#signal.addEventListener('abort', interrupt, { once: true });
    try {
      const [code] = (await once(child, 'exit')) as [number | null];
      this.#signal.throwIfAborted();
      if (!codesWithReport.includes(code)) {
        throw new LabError('LAB_COMMAND', `"vmferry migrate ${vm} ${to}" failed with code ${code}`, { code });
      }
    } finally {
      this.#signal.removeEventListener('abort', interrupt);
    }
    const call = { query: { vm, limit: 1 } };
    const { reports } = await withAgent(this.#plan, from, async (client) => await client.call('history', call));
    const [report] = reports;
    if (report === undefined) throw new LabError('LAB_COMMAND', `Host ${from} has no report of VM "${vm}"`, { vm });
    return report;
  }
}

async function withAgent<T>(plan: LabPlan, host: HostName, work: (client: AgentClient) => Promise<T>): Promise<T> {
  const client = new AgentClient(unixTransport(socketOf(plan, host)));
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}

function socketOf(plan: LabPlan, name: HostName): string {
  return plan.hosts[name === 'a' ? 0 : 1].socket;
}
