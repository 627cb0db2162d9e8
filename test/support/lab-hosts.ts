/**
 * Two lab hosts for an end-to-end test, driven as a person would: by the CLI, the API and programs on the hosts.
 *
 *     const lab = useLab({ link: '1gbit', qemu: { b: '7.2' } });        at the top of a file or of a `describe`
 *     test('...', async () => {
 *       const guest = await lab.startGuest('a', { name: 'one', memory: '256M', writer: { set: '32M', rate: '10M' } });
 *       const { report, events } = await lab.migrate(guest, 'a', 'b', '--verify');
 *       const { code, json } = await lab.cli('b', 'vm', 'list');
 *     });
 *
 * A lab's name holds the pid of its test, so tests do not meet, and a lab whose test was killed is removed by the next one.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { after, before } from 'node:test';
import { guestSpec } from '../../guests/spec.ts';
import type { GuestOptions, VmSpecInput } from '../../guests/spec.ts';
import { AgentClient } from '../../src/app/client/agent-client.ts';
import { unixTransport } from '../../src/app/client/unix-transport.ts';
import type { MigrationReport, MigrationView } from '../../src/core/model/migration.ts';
import type { VmView } from '../../src/core/model/vm.ts';
import { labDown, labLinkBytes, labStatus, labUp } from '../../src/app/lab/lab.ts';
import type { LinkName } from '../../src/app/lab/plan.ts';
import { LabGuest, tail } from './lab-guest.ts';

export type HostName = 'a' | 'b';
export type QemuVersion = '7.2' | '10';

export type LabHostsOptions = {
  /** Default `1gbit`. */
  readonly link?: LinkName;
  readonly delayMs?: number;
  /** Default 10 on both. */
  readonly qemu?: Partial<Record<HostName, QemuVersion>>;
  /** Top-level fields of an agent's configuration that replace the lab's. */
  readonly config?: Partial<Record<HostName, Readonly<Record<string, unknown>>>>;
};

export type CliResult = {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** What `--json` printed; null where standard output is not JSON. */
  readonly json: unknown;
};

export type MigrateResult = CliResult & {
  /** What the CLI printed; reading it throws where that was no report. */
  readonly report: MigrationReport;
  readonly views: readonly MigrationView[];
};

/** `json` of a command that failed. */
export type CliFailure = {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly fields?: Readonly<Record<string, unknown>>;
    readonly problems?: readonly { readonly code: string; readonly message: string }[];
  };
};

const project = resolve(import.meta.dirname, '../..');
const labs = join(project, '.cache/lab');
const CLI_TIMEOUT_MS = 240_000;

/** The QEMU binaries of the tests; VMFERRY_QEMU_72 and VMFERRY_QEMU_10 choose others. */
export const qemuBinaries: Readonly<Record<QemuVersion, string>> = {
  '7.2': process.env['VMFERRY_QEMU_72'] ?? '/usr/bin/qemu-system-x86_64',
  '10': process.env['VMFERRY_QEMU_10'] ?? join(project, '.cache/qemu-10/bin/qemu-system-x86_64'),
};

let count = 0;

/** Registers the bringing up and the removal of a lab with node:test; use the result inside tests only. */
export function useLab(options: LabHostsOptions = {}): LabHosts {
  const lab = new LabHosts(options);
  before(async () => await lab.up());
  after(async () => await lab.down());
  return lab;
}

export class LabHosts {
  readonly name: string;
  readonly folder: string;
  readonly #options: LabHostsOptions;
  readonly #guests: LabGuest[] = [];
  readonly #children = new Set<ChildProcess>();
  readonly #onSignal = (): void => void this.down().finally(() => process.exit(1));

  constructor(options: LabHostsOptions = {}) {
    this.#options = options;
    this.name = `e2e-${process.pid}-${++count}`;
    this.folder = join(labs, this.name);
  }

  async up(): Promise<void> {
    const { link = '1gbit', delayMs = 0 } = this.#options;
    await removeOrphans();
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, this.#onSignal);
    await labUp({ name: this.name, link, delayMs, config: { a: this.#config('a'), b: this.#config('b') } });
  }

  /** Removes everything, whatever has become of it. */
  async down(): Promise<void> {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.off(signal, this.#onSignal);
    for (const child of this.#children) child.kill('SIGKILL');
    for (const guest of this.#guests.splice(0)) guest.close();
    await labDown(this.name);
  }

  // --- the CLI ------------------------------------------------------------------------------------------------------

  socket(host: HostName): string {
    return join(this.folder, host, 'agent.sock');
  }

  /** Starts `bin/vmferry --socket ... ARGS --json` against a host's agent; `child` may be signalled meanwhile. */
  startCli(host: HostName, ...args: string[]): { readonly child: ChildProcess; readonly done: Promise<CliResult> } {
    const program = join(project, 'bin/vmferry');
    return this.#spawn(program, ['--socket', this.socket(host), ...args, '--json'], {
      input: 'ignore',
      timeoutMs: CLI_TIMEOUT_MS,
    });
  }

  /** Runs a command to its end, whatever its exit code. */
  async cli(host: HostName, ...args: string[]): Promise<CliResult> {
    return await this.startCli(host, ...args).done;
  }

  /** Runs a command that must succeed and returns its JSON. */
  async ok<T = unknown>(host: HostName, ...args: string[]): Promise<T> {
    const result = await this.cli(host, ...args);
    assert.equal(result.code, 0, `vmferry ${args.join(' ')} at ${host}: ${result.stderr}${result.stdout}`);
    return result.json as T;
  }

  /** Runs a command that must end with this exit code, and returns the error that it printed. */
  async refused(code: number, host: HostName, ...args: string[]): Promise<CliFailure['error']> {
    const result = await this.cli(host, ...args);
    assert.equal(result.code, code, `vmferry ${args.join(' ')} at ${host}: ${result.stderr}${result.stdout}`);
    return (result.json as CliFailure).error;
  }

  /** The API of a host's agent; close it. */
  client(host: HostName): AgentClient {
    return new AgentClient(unixTransport(this.socket(host)));
  }

  // --- guests -------------------------------------------------------------------------------------------------------

  /** Starts a test guest at a host; waits until its workloads run unless `ready` is false. */
  async startGuest(host: HostName, options: GuestOptions, ready = true): Promise<LabGuest> {
    return await this.startSpec(host, guestSpec({ accelerator: 'tcg', ...options }), ready);
  }

  async startSpec(host: HostName, spec: VmSpecInput, ready = true): Promise<LabGuest> {
    await this.ok<VmView>(host, 'vm', 'start', this.writeSpec(spec));
    const guest = this.guest(spec.name);
    guest.follow(this.consoleFile(host, spec.name));
    if (ready) await guest.waitReady();
    return guest;
  }

  /** A guest whose console is not followed yet, for one that was started otherwise. */
  guest(name: string): LabGuest {
    const guest = new LabGuest(name);
    this.#guests.push(guest);
    return guest;
  }

  writeSpec(spec: VmSpecInput): string {
    const file = join(this.folder, `${spec.name}.json`);
    writeFileSync(file, JSON.stringify(spec));
    return file;
  }

  consoleFile(host: HostName, vm: string): string {
    return join(this.folder, host, 'state/vms', vm, 'console.log');
  }

  async vms(host: HostName): Promise<readonly VmView[]> {
    return (await this.ok<{ vms: readonly VmView[] }>(host, 'vm', 'list')).vms;
  }

  /** Names and states at a host, like `one running`, for one assertion over all of them. */
  async vmStates(host: HostName): Promise<string[]> {
    return (await this.vms(host)).map(({ name, state }) => `${name} ${state}`);
  }

  // --- migrations ---------------------------------------------------------------------------------------------------

  /** Migrates and must complete; follows the guest's console to the destination. Progress is checked, too. */
  async migrate(guest: LabGuest, from: HostName, to: HostName, ...options: string[]): Promise<MigrateResult> {
    const result = await this.tryMigrate(guest, from, to, ...options);
    const said = `${result.stderr.split('\n').filter(isProse).join('\n')}\n${result.stdout}`;
    assert.equal(result.code, 0, `migration of "${guest.name}" failed: ${said}\n${this.agentLogs()}`);
    assertProgress(result.views);
    return result;
  }

  /** Migrates, whatever comes of it; follows the console where it completed. */
  async tryMigrate(guest: LabGuest, from: HostName, to: HostName, ...options: string[]): Promise<MigrateResult> {
    return await this.startMigrate(guest, from, to, ...options).done;
  }

  startMigrate(
    guest: LabGuest,
    from: HostName,
    to: HostName,
    ...options: string[]
  ): { readonly child: ChildProcess; readonly done: Promise<MigrateResult> } {
    const { child, done } = this.startCli(from, 'migrate', guest.name, to, '--events', ...options);
    return { child, done: done.then((result) => this.#ended(guest, to, result)) };
  }

  async history(host: HostName, vm?: string): Promise<readonly MigrationReport[]> {
    const filter = vm === undefined ? [] : ['--vm', vm];
    return (await this.ok<{ reports: readonly MigrationReport[] }>(host, 'history', ...filter)).reports;
  }

  // --- the hosts ----------------------------------------------------------------------------------------------------

  /** Starts a program inside a host's network namespace, its standard input a pipe; ended with the lab. */
  spawnAt(host: HostName, ...argv: string[]): { readonly child: ChildProcess; readonly done: Promise<CliResult> } {
    return this.#spawn('ip', ['netns', 'exec', `vmferry-${this.name}-${host}`, ...argv], {
      input: 'pipe',
      timeoutMs: 0,
    });
  }

  /** Bytes that left each host over the link so far. */
  async sentBytes(): Promise<Record<HostName, number>> {
    const bytes = await labLinkBytes(this.name);
    return { a: bytes.a.sent, b: bytes.b.sent };
  }

  async address(host: HostName): Promise<string> {
    return (await this.#status(host)).address;
  }

  async agentPid(host: HostName): Promise<number> {
    const { agentPid } = await this.#status(host);
    assert.ok(agentPid !== null, `the agent of host ${host} runs`);
    return agentPid;
  }

  agentLog(host: HostName): string {
    return this.#read(host, 'agent.log');
  }

  /**
   * The end of both agents' logs, and of what they wrote to standard error, for messages of failed assertions: the lab is gone by
   * the time somebody reads them.
   */
  agentLogs(lines = 15): string {
    const said = (host: HostName): string =>
      ['agent.log', 'agent.out'].map((file) => tail(this.#read(host, file), lines)).join('\n');
    return (['a', 'b'] as const).map((host) => `-- agent ${host}\n${said(host)}`).join('\n');
  }

  // ------------------------------------------------------------------------------------------------------------------

  #config(host: HostName): Record<string, unknown> {
    const version = this.#options.qemu?.[host] ?? '10';
    const binary = qemuBinaries[version];
    const hint = 'run "npm run setup", or set VMFERRY_QEMU_10 and VMFERRY_QEMU_72';
    assert.ok(existsSync(binary), `QEMU ${version} is missing at ${binary}: ${hint}`);
    const qemu = { binary, img: join(dirname(binary), 'qemu-img') };
    return { qemu, accelerator: 'tcg', ...this.#options.config?.[host] };
  }

  #read(host: HostName, name: string): string {
    const file = join(this.folder, host, name);
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  async #status(host: HostName) {
    const found = (await labStatus(this.name)).hosts.find(({ name }) => name === host);
    assert.ok(found !== undefined, `the lab has a host ${host}`);
    return found;
  }

  #ended(guest: LabGuest, to: HostName, result: CliResult): MigrateResult {
    const events = result.stderr
      .split('\n')
      .filter((line) => !isProse(line))
      .map((line) => JSON.parse(line) as { type: string; view?: MigrationView });
    const views = events.flatMap(({ view }) => (view === undefined ? [] : [view]));
    if (result.code === 0) guest.follow(this.consoleFile(to, guest.name));
    const ended = {
      ...result,
      views,
      get report(): MigrationReport {
        const report = result.json as MigrationReport | null;
        assert.ok(report !== null && 'stagesMs' in report, `no report: ${result.stdout}${result.stderr}`);
        return report;
      },
    };
    return ended;
  }

  #spawn(
    program: string,
    argv: readonly string[],
    { input, timeoutMs }: { readonly input: 'ignore' | 'pipe'; readonly timeoutMs: number },
  ): { child: ChildProcess; done: Promise<CliResult> } {
    const child = spawn(program, argv, { stdio: [input, 'pipe', 'pipe'], timeout: timeoutMs });
    this.#children.add(child);
    const said = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream]?.setEncoding('utf8').on('data', (text: string) => (said[stream] += text));
    }
    const done = new Promise<CliResult>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => {
        this.#children.delete(child);
        if (signal !== null) said.stderr += `\n${program} was ended by ${signal}`;
        resolve({ code: code ?? -1, ...said, json: parseJson(said.stdout) });
      });
    });
    return { child, done };
  }
}

/** The bar never goes back and never passes its end; time and bytes never go back either. */
export function assertProgress(views: readonly MigrationView[]): void {
  assert.ok(views.length > 0, 'there are views');
  for (const [index, view] of views.entries()) {
    assert.ok(view.progress >= 0 && view.progress <= 1, `progress ${view.progress}`);
    if (view.progress === 1) assert.equal(view.stage, 'ended', 'all is done only at the end');
    const before = views[index - 1];
    if (before === undefined) continue;
    assert.ok(view.progress >= before.progress, `progress ${view.progress} after ${before.progress}`);
    assert.ok(view.elapsedMs >= before.elapsedMs, `elapsed ${view.elapsedMs} after ${before.elapsedMs}`);
    assert.ok(view.wireBytes >= before.wireBytes, `wire bytes ${view.wireBytes} after ${before.wireBytes}`);
  }
}

function isProse(line: string): boolean {
  return !line.startsWith('{');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Labs of tests that were killed. */
async function removeOrphans(): Promise<void> {
  if (!existsSync(labs)) return;
  for (const name of readdirSync(labs)) {
    const pid = /^e2e-(\d+)-\d+$/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) await labDown(name);
  }
}
