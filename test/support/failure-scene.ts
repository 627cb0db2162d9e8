/**
 * A guest under load between two hosts on which things are made to fail, and what must hold afterwards.
 *
 *     const scene = useScene();
 *     test('...', async () => {
 *       await scene.ready();                                   everything whole, the guest at scene.here
 *       const attempt = scene.attempt();                       migrate, slowly enough to interfere
 *       await attempt.preCopy();
 *       ... break something ...
 *       await scene.assertStayed(await attempt.done, ...);     or assertMoved
 *     });
 *
 * The guest is the same from test to test: each leaves it running at one of the hosts, where the next one finds it.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { parse, stringify } from 'yaml';
import type { GuestOptions } from '../../guests/spec.ts';
import type { AgentClient } from '../../src/app/client/agent-client.ts';
import type { MigrationView } from '../../src/core/model/migration.ts';
import { labCutLink, labSignalAgent, labStartAgent, labStatus } from '../../src/app/lab/lab.ts';
import type { LabGuest } from './lab-guest.ts';
import { useLab } from './lab-hosts.ts';
import type { CliResult, HostName, LabHosts, LabHostsOptions, MigrateResult } from './lab-hosts.ts';
import { askQemu, ConsoleWitness, qemuPids, runState, secondMonitor, until } from './outside-view.ts';

const hosts = ['a', 'b'] as const;
/** Pre-copy takes some 4 s at this rate. */
const SLOW = [
  ...['--strategy', 'precopy', '--prune', 'none', '--compress', 'lz'],
  ...['--max-bandwidth', '100mbit', '--downtime', '9s', '--max-rounds', '1'],
] as const;
/** How long a host may take to forget a machine whose QEMU has ended. */
const CLEAR_MS = 5000;
const POLL_MS = 20;
const STACK_TRACE = /^\s+at .+:\d+:\d+\)?$/m;

/** `more`: what the guest has besides, made once the lab is there. */
export function useScene(
  options: LabHostsOptions = {},
  more: (lab: LabHosts) => Partial<GuestOptions> = () => ({}),
): FailureScene {
  const scene = new FailureScene(useLab(options), more);
  afterEach(() => scene.endWitness());
  return scene;
}

/** A migration that is under way. */
export type Attempt = {
  readonly child: ChildProcess;
  readonly done: Promise<MigrateResult>;
  /** Waits for the first view that is so. */
  readonly view: (what: string, wanted: (view: MigrationView) => boolean) => Promise<MigrationView>;
  /** Pages are on their way. */
  readonly preCopy: () => Promise<MigrationView>;
  /** Waits until the source's machine is in this state (docs/machine.md). */
  readonly sourceIs: (state: string) => Promise<void>;
  readonly destinationIs: (state: string) => Promise<void>;
};

export class FailureScene {
  readonly lab: LabHosts;
  here: HostName = 'a';
  #guest: LabGuest | null = null;
  #witness: ConsoleWitness | null = null;
  #settings: unknown = null;
  #count = 0;
  /** Migrations in the journals before the present attempt. */
  #past: ReadonlySet<string> = new Set();

  readonly #more: (lab: LabHosts) => Partial<GuestOptions>;

  constructor(lab: LabHosts, more: (lab: LabHosts) => Partial<GuestOptions>) {
    this.lab = lab;
    this.#more = more;
  }

  get there(): HostName {
    return this.here === 'a' ? 'b' : 'a';
  }

  get guest(): LabGuest {
    assert.ok(this.#guest !== null, 'scene.ready() comes first');
    return this.#guest;
  }

  /** Repairs what the test before broke; a guest that is not where it should be is replaced by a new one. */
  async ready(): Promise<void> {
    this.endWitness();
    await this.repair();
    const states = { a: await this.vmStates('a'), b: await this.vmStates('b') };
    const left = JSON.stringify(states);
    const name = this.#guest?.name ?? '';
    if (left === JSON.stringify({ a: [`${name} running`], b: [] })) this.here = 'a';
    else if (left === JSON.stringify({ a: [], b: [`${name} running`] })) this.here = 'b';
    else await this.#replaceGuest();
    this.#witness = new ConsoleWitness(this.lab, this.guest.name);
    this.#settings = await this.#migrationSettings();
  }

  /** Link joined, both agents running. */
  async repair(): Promise<void> {
    await labCutLink(false, this.lab.name);
    for (const host of hosts) labSignalAgent(host, 'SIGCONT', this.lab.name);
    for (const { name, agentAnswers } of (await labStatus(this.lab.name)).hosts) {
      if (!agentAnswers) await labStartAgent(name, this.lab.name);
    }
  }

  endWitness(): void {
    this.#witness?.close();
    this.#witness = null;
  }

  attempt(...options: string[]): Attempt {
    const { here, there, lab } = this;
    this.#past = new Set(hosts.flatMap((host) => journalRecords(lab, host)).map(({ id }) => id));
    const logged = { [here]: lab.agentLog(here).length, [there]: lab.agentLog(there).length };
    const { child, done } = lab.startMigrate(this.guest, here, there, ...SLOW, ...options);
    const views: MigrationView[] = [];
    let rest = '';
    child.stderr?.on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line.startsWith('{"type":"view"')) views.push(viewOf(line));
    });
    let ended: MigrateResult | null = null;
    void done.then((result) => (ended = result));
    const view = async (what: string, wanted: (view: MigrationView) => boolean): Promise<MigrationView> =>
      await until(`The migration reaches ${what}`, () => {
        const found = views.find(wanted);
        if (found === undefined && ended !== null) assert.fail(`It ended before ${what}: ${ended.stderr}`);
        return found;
      });
    const says = async (host: HostName, text: string): Promise<void> => {
      await until(`The agent of ${host} says ${text}`, () => {
        const found = lab.agentLog(host).slice(logged[host]).includes(text);
        if (!found && host === here && ended !== null) assert.fail(`It ended before ${text}: ${ended.stderr}`);
        return found;
      });
    };
    return {
      ...{ child, done, view },
      preCopy: async () => await view('pre-copy', ({ stage, wireBytes }) => stage === 'preCopy' && wireBytes > 2e6),
      sourceIs: async (state) => await says(here, `"Source is ${state}"`),
      destinationIs: async (state) => await says(there, `"Destination is ${state}"`),
    };
  }

  /** The guest is stopped and cannot be handed over: the destination's agent stands still from here on. */
  async freezeInStopAndCopy(attempt: Attempt): Promise<void> {
    await attempt.sourceIs('stopping');
    this.signalAgent('there', 'SIGSTOP');
    await attempt.view('stop-and-copy', ({ stage }) => stage === 'stopAndCopy');
    assert.notEqual(await runState(this.lab, this.here, this.guest.name), 'running');
  }

  /**
   * The destination has everything and has said so, its agent stands still; the source cannot write COMMIT, because its
   * QEMU stands still, too. Returns what lets that go on.
   */
  async freezeBeforeCommit(attempt: Attempt): Promise<() => void> {
    const { vms } = await this.#ask(this.here, async (client) => await client.call('listVms', {}));
    const qemu = vms.find(({ name }) => name === this.guest.name)?.pid ?? assert.fail('the guest has a process');
    await this.freezeInStopAndCopy(attempt);
    // The monitor answers again when the last byte of the stream is written; QEMU then waits for its return path.
    const { lab, here, guest } = this;
    await until('QEMU has sent all', async () => (await runState(lab, here, guest.name)) === 'finish-migrate');
    process.kill(qemu, 'SIGSTOP');
    this.signalAgent('there', 'SIGCONT');
    await attempt.sourceIs('fencing');
    this.signalAgent('there', 'SIGSTOP');
    this.assertNotRecorded('here', 'commit');
    return () => void process.kill(qemu, 'SIGCONT');
  }

  /** What the journals say of the present attempt. */
  recorded(which: 'here' | 'there'): string[] {
    return journalRecords(this.lab, this[which])
      .filter(({ id }) => !this.#past.has(id))
      .map(({ type }) => type);
  }

  assertNotRecorded(which: 'here' | 'there', type: string): void {
    assert.ok(!this.recorded(which).includes(type), `the journal has no ${type} yet: ${this.recorded(which).join()}`);
  }

  async untilRecorded(which: 'here' | 'there', type: string): Promise<void> {
    await until(`the journal has ${type}`, () => this.recorded(which).includes(type));
  }

  /** Asks both QEMUs, not the agents. */
  async assertNobodyRuns(): Promise<void> {
    for (const host of hosts) {
      const state = await runState(this.lab, host, this.guest.name);
      assert.notEqual(state, 'running', `the guest at ${host}`);
    }
  }

  signalAgent(which: 'here' | 'there', signal: NodeJS.Signals): void {
    assert.ok(labSignalAgent(this[which], signal, this.lab.name), `the agent ${which} was running`);
  }

  /** A signal to the destination's agent, whether it runs or not. */
  signalIfThere(signal: NodeJS.Signals): void {
    labSignalAgent(this.there, signal, this.lab.name);
  }

  async restartAgent(which: 'here' | 'there'): Promise<void> {
    await labStartAgent(this[which], this.lab.name);
  }

  /** Restarts a host's agent with other top-level fields in its configuration. */
  async reconfigure(host: HostName, fields: object): Promise<void> {
    const file = join(this.lab.folder, host, 'agent.yaml');
    writeFileSync(file, stringify({ ...(parse(readFileSync(file, 'utf8')) as object), ...fields }));
    await labStartAgent(host, this.lab.name);
  }

  /** Ended with this code and a message for people that matches; says that the guest runs where it was. */
  assertSaid(result: MigrateResult, code: number, message: RegExp): void {
    const said = result.stderr
      .split('\n')
      .filter((line) => !line.startsWith('{'))
      .join('\n');
    assert.equal(result.code, code, `${said}\n${this.lab.agentLogs()}`);
    assert.match(said, message);
    assertNoStackTrace(result);
    if (code === 8) return;
    assert.match(said, new RegExp(`The guest runs at host ${this.here}\\.`));
    assert.equal(result.report.guest, 'running at source');
    assert.notEqual(result.report.code, null);
  }

  /** The guest goes on where it was, as it was; nothing of it is left at the other host. */
  async assertStayed(): Promise<void> {
    const { lab, guest, here, there } = this;
    await this.#assertAgentsLive();
    await until('the guest runs at the source', async () => (await runState(lab, here, guest.name)) === 'running');
    await guest.moreWriterLines(4);
    guest.assertSound();
    await until('nothing runs at the destination', () => qemuPids(lab, there).length === 0);
    await until('the source is settled', async () => (await this.vmStates(here))[0] === `${guest.name} running`);
    assert.deepEqual(await this.#migrationSettings(), this.#settings, 'migration settings of the source QEMU');
    await this.#assertEmpty(there);
    this.#assertOneOwner();
  }

  /** The guest runs at the other host only; the source has forgotten it. From now on it is `here`. */
  async assertMoved(result: MigrateResult): Promise<void> {
    const { lab, guest, here, there } = this;
    await this.#assertAgentsLive();
    await until(
      'the guest runs at the destination',
      async () => (await runState(lab, there, guest.name)) === 'running',
    );
    if (result.code !== 0) guest.follow(lab.consoleFile(there, guest.name));
    await guest.moreWriterLines(4);
    guest.assertSound();
    await until('nothing runs at the source', () => qemuPids(lab, here).length === 0);
    assert.deepEqual(await this.vmStates(there), [`${guest.name} running`]);
    await this.#assertEmpty(here);
    this.#assertOneOwner();
    this.here = there;
  }

  /** The same machine moves when nothing is in the way. */
  async assertMovesNow(): Promise<void> {
    const { report } = await this.lab.migrate(this.guest, this.here, this.there);
    assert.equal(report.outcome, 'completed');
    await this.guest.moreWriterLines(3);
    this.guest.assertSound();
    this.#assertOneOwner();
    this.here = this.there;
  }

  /** What an agent that died by itself leaves behind looks like a mistake of the other one. */
  async #assertAgentsLive(): Promise<void> {
    const live = async (): Promise<boolean> =>
      (await labStatus(this.lab.name)).hosts.every((host) => host.agentAnswers);
    await until('both agents answer', live).catch((error: unknown) => {
      assert.fail(`${String(error)}\n${this.lab.agentLogs()}`);
    });
  }

  /** The last of it goes a moment after its process. */
  async #assertEmpty(host: HostName): Promise<void> {
    const folder = join(this.lab.folder, host, 'state/vms');
    const nothing = { machines: [], memory: [0, 0], vcpus: [0, 0], folders: [] };
    const look = async (): Promise<object> => {
      const { memoryBytes, vcpus } = await this.#ask(host, async (client) => await client.call('host', {}));
      return {
        machines: await this.vmStates(host),
        memory: [memoryBytes.used, memoryBytes.reserved],
        vcpus: [vcpus.used, vcpus.reserved],
        folders: existsSync(folder) ? readdirSync(folder) : [],
      };
    };
    const deadline = performance.now() + CLEAR_MS;
    while (!isDeepStrictEqual(await look(), nothing) && performance.now() < deadline) await sleep(POLL_MS);
    assert.deepEqual(await look(), nothing, `what is left at host ${host}`);
  }

  /** Like LabHosts.vmStates, without the price of a program. */
  async vmStates(host: HostName): Promise<string[]> {
    const { vms } = await this.#ask(host, async (client) => await client.call('listVms', {}));
    return vms.map(({ name, state }) => `${name} ${state}`);
  }

  async #vmNames(host: HostName): Promise<string[]> {
    const { vms } = await this.#ask(host, async (client) => await client.call('listVms', {}));
    return vms.map(({ name }) => name);
  }

  async #ask<T>(host: HostName, question: (client: AgentClient) => Promise<T>): Promise<T> {
    const client = this.lab.client(host);
    try {
      return await question(client);
    } finally {
      await client.close();
    }
  }

  #assertOneOwner(): void {
    this.#witness?.assertOneOwner();
  }

  async #migrationSettings(): Promise<unknown> {
    const { lab, here, guest } = this;
    const parameters = await askQemu(lab, here, guest.name, 'query-migrate-parameters');
    const capabilities = (await askQemu(lab, here, guest.name, 'query-migrate-capabilities')) as { state: boolean }[];
    return { parameters, capabilities: capabilities.filter(({ state }) => state) };
  }

  async #replaceGuest(): Promise<void> {
    for (const host of hosts) {
      for (const name of await this.#vmNames(host)) await this.lab.cli(host, 'vm', 'stop', name, '--force');
    }
    this.here = 'a';
    this.#guest = await this.lab.startGuest('a', {
      name: `g${++this.#count}`,
      memory: '256M',
      writer: { set: '32M', rate: '8M', pattern: 'random' },
      qemuArguments: [...secondMonitor],
      ...this.#more(this.lab),
    });
  }
}

export function assertNoStackTrace({ stdout, stderr }: CliResult): void {
  assert.doesNotMatch(`${stderr}\n${stdout}`, STACK_TRACE);
}

/** The records in a host's journal of migrations, in order. */
function journalRecords(lab: LabHosts, host: HostName): { id: string; type: string }[] {
  const text = readFileSync(join(lab.folder, host, 'state/migrations.journal'), 'latin1');
  const records = text.matchAll(/"migrationId":"([^"]+)","at":"[^"]+","type":"([a-z]+)"/g);
  return Array.from(records, (match) => ({ id: match[1] ?? '', type: match[2] ?? '' }));
}

function viewOf(line: string): MigrationView {
  return (JSON.parse(line) as { view: MigrationView }).view;
}
