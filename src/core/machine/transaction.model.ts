/**
 * A small world for the transaction: two agents with journals, the two QEMUs, the link between them. Used by
 * transaction.simulator.ts, which decides what happens when.
 *
 * What is modelled, and from where (qemu-stream.md, section 8):
 *  - Source QEMU: after its last byte it waits, stopped. SHUT(0) makes it `postmigrate`; the socket's end without SHUT(0)
 *    makes it resume by itself; both are read from its inbox some time later, also when the agent has died meanwhile.
 *    `cont` works in `postmigrate`. A QEMU outlives its agent, not its host.
 *  - Destination QEMU: paused until `cont`. With a pull phase some pages are missing then, which only the source's QEMU has.
 *  - Journal: an append is written, then synced. A crash between the two leaves the record there or not. A failed sync
 *    leaves the same question and makes the journal unusable until it is reopened. A full disk fails for certain.
 *  - Link: in order, no loss within a connection. It is cut, or stalled; a corrupted frame ends the connection.
 */
import type { DestinationEffect, DestinationEvent, DestinationState, DestinationStep } from './destination-states.ts';
import type { ObservedDestination } from './destination-states.ts';
import { recoverDestination, recoverSource } from './recovery.ts';
import type { DestinationRecord, JournalRecord, SourceRecord } from './records.ts';
import { startDestination, stepDestination, standingDestinationEffects } from './destination-machine.ts';
import { startSource, standingSourceEffects, stepSource } from './source-machine.ts';
import type { ObservedSource, SourceEffect, SourceEvent, SourceState, SourceStep } from './source-states.ts';

/** The machines under test; a test of the simulator plants a bug by replacing one. */
export type Machines = {
  readonly stepSource: (state: SourceState, event: SourceEvent) => SourceStep;
  readonly stepDestination: (state: DestinationState, event: DestinationEvent) => DestinationStep;
  readonly recoverSource: typeof recoverSource;
  readonly recoverDestination: typeof recoverDestination;
};

export const machines: Machines = { stepSource, stepDestination, recoverSource, recoverDestination };

/** Work that the data plane does between two events; dies with its agent. */
type Work = { readonly type: 'copy' } | { readonly type: 'stopGuest' } | { readonly type: 'drain' };

/** An effect (or work) under way; `at` counts its small steps, between any two of which the agent may be killed. */
export type Task<Effect> = { readonly do: Effect | Work; at: number };

export type Message =
  | {
      readonly type:
        | 'reserve'
        | 'reserved'
        | 'feed'
        | 'prepared'
        | 'commit'
        | 'abort'
        | 'query'
        | 'done'
        | 'failed'
        | 'pull'
        | 'page';
    }
  | { readonly type: 'active'; readonly pulling: boolean }
  | { readonly type: 'epilogue'; readonly writes: number }
  | { readonly type: 'answer'; readonly answer: 'committed' | 'aborted' | 'undecided' | 'unknown' }
  | { readonly type: 'gone'; readonly mayHaveRun: boolean };

export type Disk<R> = { records: R[]; unsynced: R[]; full: boolean; syncFails: boolean; unusable: boolean };

export type Agent<State, Effect, R> = {
  up: boolean;
  state: State | null;
  tasks: Task<Effect>[];
  disk: Disk<R>;
  /** It has not been told yet that the connection ended. */
  linkLost: boolean;
  sawQemuGone: boolean;
};

export type World = {
  readonly random: () => number;
  /** The migration has a pull phase. */
  readonly pull: boolean;
  readonly machines: Machines;
  readonly source: Agent<SourceState, SourceEffect, SourceRecord>;
  readonly destination: Agent<DestinationState, DestinationEffect, DestinationRecord>;
  readonly sourceQemu: {
    mode: 'running' | 'feeding' | 'waiting' | 'postmigrate' | 'gone';
    socketOpen: boolean;
    inbox: ('shut0' | 'close')[];
    /** Writes the guest has made here: its whole memory and disk, as far as the model goes. */
    writes: number;
    killed: boolean;
  };
  readonly destinationQemu: {
    mode: 'none' | 'incoming' | 'loaded' | 'running' | 'gone';
    writes: number;
    received: number;
    /** Pages that are still at the source. */
    missing: number;
    everRan: boolean;
    /** A person said that this copy shall not run. */
    givenUp: boolean;
    killed: boolean;
  };
  readonly link: { mode: 'up' | 'down' | 'stalled'; toSource: Message[]; toDestination: Message[] };
  readonly trace: string[];
};

export function makeWorld(random: () => number, under: Machines): World {
  const world: World = {
    random,
    pull: random() < 0.5,
    machines: under,
    source: makeAgent(),
    destination: makeAgent(),
    sourceQemu: { mode: 'running', socketOpen: false, inbox: [], writes: 0, killed: false },
    destinationQemu: {
      mode: 'none',
      writes: -1,
      received: -1,
      missing: 0,
      everRan: false,
      givenUp: false,
      killed: false,
    },
    link: { mode: 'up', toSource: [], toDestination: [] },
    trace: [],
  };
  take(world.source, startSource({ vm: 'v', peer: 'd', qemu: '1:1' }));
  return world;
}

function makeAgent<State, Effect, R>(): Agent<State, Effect, R> {
  const disk = { records: [], unsynced: [], full: false, syncFails: false, unusable: false };
  return { up: true, state: null, tasks: [], disk, linkLost: false, sawQemuGone: false };
}

function take<State, Effect>(
  agent: Agent<State, Effect, never> | Agent<State, Effect, SourceRecord> | Agent<State, Effect, DestinationRecord>,
  step: { readonly state: State; readonly effects: readonly Effect[] },
): void {
  agent.state = step.state;
  for (const effect of step.effects) agent.tasks.push({ do: effect, at: 0 });
}

export function tellSource(world: World, event: SourceEvent): void {
  if (world.source.state === null) return;
  const step = world.machines.stepSource(world.source.state, event);
  world.trace.push(`S ${world.source.state.name} + ${event.type} -> ${step.state.name}`);
  take(world.source, step);
}

export function tellDestination(world: World, event: DestinationEvent): void {
  if (world.destination.state === null) return;
  const step = world.machines.stepDestination(world.destination.state, event);
  world.trace.push(`D ${world.destination.state.name} + ${event.type} -> ${step.state.name}`);
  take(world.destination, step);
}

/** Effects that last with the state are run again unless they are still under way. */
export function repeatStanding(world: World): void {
  const { source, destination } = world;
  const pending = (tasks: readonly Task<{ type: string }>[], type: string) =>
    tasks.some((task) => task.do.type === type);
  if (source.up && source.state !== null) {
    for (const effect of standingSourceEffects(source.state)) {
      if (!pending(source.tasks, effect.type)) source.tasks.push({ do: effect, at: 0 });
    }
  }
  if (destination.up && destination.state !== null) {
    for (const effect of standingDestinationEffects(destination.state)) {
      if (!pending(destination.tasks, effect.type)) destination.tasks.push({ do: effect, at: 0 });
    }
  }
}

/** Whether a record that was written and not synced is there after a crash: nobody can say. */
export function reopenDisk<R>(world: World, disk: Disk<R>): void {
  for (const record of disk.unsynced) if (world.random() < 0.5) disk.records.push(record);
  disk.unsynced = [];
  disk.unusable = false;
}

/** One small step of an append. Returns undefined while under way, else whether and how it ended. */
export function stepAppend<R extends JournalRecord>(
  world: World,
  disk: Disk<R>,
  task: { at: number },
  record: R,
): 'written' | 'surelyNot' | 'uncertain' | undefined {
  if (task.at === 0) {
    if (disk.full) return world.random() < 0.3 ? 'surelyNot' : undefined;
    if (disk.unusable) reopenDisk(world, disk);
    disk.unsynced.push(record);
    task.at = 1;
    return undefined;
  }
  if (disk.syncFails) {
    disk.syncFails = false;
    disk.unusable = true;
    return 'uncertain';
  }
  disk.records.push(...disk.unsynced);
  disk.unsynced = [];
  return 'written';
}

export function cutLink(world: World): void {
  const { link, source, destination } = world;
  if (link.mode === 'down') return;
  link.mode = 'down';
  link.toSource = [];
  link.toDestination = [];
  source.linkLost = true;
  destination.linkLost = true;
}

/** A new connection. Both sides have noticed the end of the last one by then. */
export function healLink(world: World): void {
  const { link, source, destination } = world;
  if (!source.up || !destination.up) return;
  if (link.mode === 'down') noticeLinkLost(world);
  link.mode = 'up';
  repeatStanding(world);
}

export function noticeLinkLost(world: World): void {
  if (world.source.up && world.source.linkLost) {
    world.source.linkLost = false;
    tellSource(world, { type: 'linkLost' });
  }
  if (world.destination.up && world.destination.linkLost) {
    world.destination.linkLost = false;
    tellDestination(world, { type: 'linkLost' });
  }
}

export function killSourceAgent(world: World): void {
  const { source, sourceQemu } = world;
  if (!source.up) return;
  world.trace.push('S agent killed');
  cutLink(world);
  stop(source);
  if (sourceQemu.socketOpen) {
    sourceQemu.socketOpen = false;
    sourceQemu.inbox.push('close');
  }
}

export function killDestinationAgent(world: World): void {
  if (!world.destination.up) return;
  world.trace.push('D agent killed');
  cutLink(world);
  stop(world.destination);
}

function stop<State, Effect, R>(agent: Agent<State, Effect, R>): void {
  agent.up = false;
  agent.state = null;
  agent.tasks = [];
  agent.linkLost = false;
}

export function killSourceQemu(world: World): void {
  if (world.sourceQemu.mode === 'gone') return;
  world.trace.push('S QEMU killed');
  world.sourceQemu.mode = 'gone';
  world.sourceQemu.killed = true;
}

export function killDestinationQemu(world: World): void {
  const { destinationQemu } = world;
  if (destinationQemu.mode === 'gone' || destinationQemu.mode === 'none') return;
  world.trace.push('D QEMU killed');
  destinationQemu.mode = 'gone';
  destinationQemu.killed = true;
}

export function restartSourceAgent(world: World): void {
  const { source, sourceQemu } = world;
  if (source.up || source.disk.full) return;
  reopenDisk(world, source.disk);
  source.up = true;
  if (source.disk.records.length === 0) return;
  const mode = sourceQemu.mode;
  const qemu: ObservedSource = mode === 'feeding' ? 'running' : mode === 'waiting' ? 'finish-migrate' : mode;
  const step = world.machines.recoverSource(source.disk.records, { qemu });
  world.trace.push(`S agent restarted: ${step.state.name}, QEMU ${qemu}`);
  take(source, step);
}

export function restartDestinationAgent(world: World): void {
  const { destination, destinationQemu } = world;
  if (destination.up || destination.disk.full) return;
  reopenDisk(world, destination.disk);
  destination.up = true;
  destination.sawQemuGone = false;
  if (destination.disk.records.length === 0) return;
  const { mode } = destinationQemu;
  const qemu: ObservedDestination =
    mode === 'running' ? 'running' : mode === 'gone' || mode === 'none' ? 'gone' : 'paused';
  const step = world.machines.recoverDestination(destination.disk.records, { qemu });
  world.trace.push(`D agent restarted: ${step.state.name}, QEMU ${qemu}`);
  take(destination, step);
}

/** The source QEMU reads one thing from its socket. */
export function stepSourceQemu(world: World): void {
  const qemu = world.sourceQemu;
  const got = qemu.inbox.shift();
  if (got === 'shut0' && qemu.mode === 'waiting') qemu.mode = 'postmigrate';
  if (got === 'close' && (qemu.mode === 'waiting' || qemu.mode === 'feeding')) qemu.mode = 'running';
  if (got !== undefined) world.trace.push(`S QEMU reads ${got}: ${qemu.mode}`);
}

export function reserveAtDestination(world: World): void {
  take(world.destination, startDestination({ vm: 'v', peer: 's' }));
}
