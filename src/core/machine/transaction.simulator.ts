/**
 * Random schedules of one migration with faults, and the invariants that must hold at every step of them.
 *
 * A schedule is a seed. First a random part, in which a few faults strike at random steps; then a calm part, in which faults
 * stop, agents are restarted and the link is healed, after which the migration has to have come to an end. Everything is
 * deterministic: a failing seed prints its trace and can be run again.
 */
import { AppError } from '../base/errors.ts';
import { destinationEnded } from './destination-machine.ts';
import type { DestinationState } from './destination-states.ts';
import { sourceEnded } from './source-machine.ts';
import type { SourceState } from './source-states.ts';
import * as model from './transaction.model.ts';
import type { Machines, Task, World } from './transaction.model.ts';
import { deliverToDestination, deliverToSource, stepDestinationTask, stepSourceTask } from './transaction.drivers.ts';

export class InvariantError extends AppError<
  | 'SIM_TWO_RUNNING'
  | 'SIM_LOST_WRITE'
  | 'SIM_RAN_AFTER_COMMIT'
  | 'SIM_NONE_RUNNING'
  | 'SIM_NOT_ENDED'
  | 'SIM_PAGES_LOST'
> {}

const faults = [
  'sourceAgent',
  'destinationAgent',
  'sourceQemu',
  'destinationQemu',
  'sourceHost',
  'destinationHost',
  'cut',
  'stall',
  'corruptToSource',
  'corruptToDestination',
  'sourceDiskFull',
  'destinationDiskFull',
  'sourceSyncFails',
  'destinationSyncFails',
  'clockJump',
  'cancel',
  'personDiscards',
] as const;
export type Fault = (typeof faults)[number];

export type Schedule = {
  readonly seed: number;
  readonly machines?: Machines;
  /** At most so many faults. */
  readonly faultsMax?: number;
  readonly only?: readonly Fault[];
};

export type Ending = {
  readonly source: string;
  readonly destination: string;
  /** "fault sourceState destinationState" for each fault that struck. */
  readonly struck: readonly string[];
  readonly trace: readonly string[];
};

/** A migration without faults needs about 120 steps. */
const STEPS_MAX = 250;
const CALM_STEPS_MAX = 1500;

/** Where faults are aimed: early ones hit by chance, the short states of the decision have to be aimed at. */
const targets: readonly (SourceState['name'] | DestinationState['name'])[] = [
  ...([
    'copying',
    'transferring',
    'fencing',
    'committing',
    'inDoubt',
    'handedOver',
    'serving',
    'quitting',
    'finishing',
  ] as const),
  ...([
    'aborting',
    'closing',
    'preparing',
    'prepared',
    'committed',
    'activating',
    'pulling',
    'completing',
    'active',
    'discarding',
  ] as const),
];

/** A fault strikes some steps after one of the machines entered a state, or after some steps. */
type Aim = { readonly fault: Fault; readonly target: string | null; delay: number };

function aimFaults(random: () => number, schedule: Schedule): Aim[] {
  const kinds = schedule.only ?? faults;
  const pick = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)];
  const aims: Aim[] = [];
  const count = Math.floor(random() * ((schedule.faultsMax ?? 4) + 1));
  for (let index = 0; index < count; index++) {
    const fault = pick(kinds);
    const target = random() < 0.75 ? (pick(targets) ?? null) : null;
    const delay = Math.floor(random() * (target === null ? 120 : 12));
    if (fault !== undefined) aims.push({ fault, target, delay });
  }
  return aims;
}

/** The next fault that is due, if any. */
function dueFault(world: World, aims: Aim[]): Fault | undefined {
  for (const [index, aim] of aims.entries()) {
    const { target } = aim;
    if (target !== null && target !== world.source.state?.name && target !== world.destination.state?.name) continue;
    if (aim.delay-- > 0) continue;
    aims.splice(index, 1);
    return aim.fault;
  }
  return undefined;
}

/** Runs one schedule to its end. Throws InvariantError (or what a machine throws) with the trace in its fields. */
export function simulate(schedule: Schedule): Ending {
  const random = mulberry32(schedule.seed);
  const world = model.makeWorld(random, schedule.machines ?? model.machines);
  const struck: string[] = [];
  try {
    const aims = aimFaults(random, schedule);
    for (let step = 0; step < STEPS_MAX; step++) {
      const fault = dueFault(world, aims);
      if (fault === undefined) {
        advance(world, false);
      } else {
        struck.push(`${fault} ${world.source.state?.name ?? '-'} ${world.destination.state?.name ?? '-'}`);
        strike(world, fault);
      }
      checkStep(world);
    }
    calmDown(world);
    checkEnd(world);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const code = error instanceof InvariantError ? error.code : 'SIM_NOT_ENDED';
    const fields = { seed: schedule.seed, trace: world.trace };
    throw new InvariantError(code, `Seed ${schedule.seed}: ${message}`, fields, { cause: error });
  }
  const { source, destination, trace } = world;
  return { source: source.state?.name ?? '-', destination: destination.state?.name ?? '-', struck, trace };
}

function strike(world: World, fault: Fault): void {
  const { source, destination, link, random } = world;
  world.trace.push(`! ${fault}`);
  if (fault === 'sourceAgent') model.killSourceAgent(world);
  if (fault === 'destinationAgent') model.killDestinationAgent(world);
  if (fault === 'sourceQemu') model.killSourceQemu(world);
  if (fault === 'destinationQemu') model.killDestinationQemu(world);
  if (fault === 'sourceHost') {
    model.killSourceAgent(world);
    model.killSourceQemu(world);
  }
  if (fault === 'destinationHost') {
    model.killDestinationAgent(world);
    model.killDestinationQemu(world);
  }
  if (fault === 'stall' && link.mode === 'up') link.mode = 'stalled';
  // A frame that does not authenticate ends the connection, with all that was queued behind it.
  if (fault === 'cut' || fault === 'corruptToSource' || fault === 'corruptToDestination') model.cutLink(world);
  if (fault === 'sourceDiskFull') source.disk.full = true;
  if (fault === 'destinationDiskFull') destination.disk.full = true;
  if (fault === 'sourceSyncFails') source.disk.syncFails = true;
  if (fault === 'destinationSyncFails') destination.disk.syncFails = true;
  if (fault === 'clockJump') {
    // Every timer that is running fires: the lease there, the time-outs here.
    if (destination.up) model.tellDestination(world, { type: 'leaseExpired' });
    if (source.up && random() < 0.5) {
      model.tellSource(world, { type: 'failed', cause: { code: 'FERRY_PEER_SILENT', reason: 'time-out' } });
    }
  }
  // In doubt, or the source is away for so long that somebody holds it for lost.
  const isAlone = destination.state?.name === 'pulling' && !source.up;
  if (fault === 'personDiscards' && (destination.state?.name === 'inDoubt' || isAlone)) {
    world.destinationQemu.givenUp = true;
    model.tellDestination(world, { type: 'personDecided', word: 'discard' });
  }
  if (fault === 'cancel' && source.up) model.tellSource(world, { type: 'cancelled', reason: 'by hand' });
}

/** One small thing happens. `calm`: faults are over, so repairs come quickly. */
function advance(world: World, calm: boolean): void {
  const { random, source, destination, link, sourceQemu } = world;
  if (calm && random() < 0.15) return repair(world);
  const dice = random();
  if (dice < 0.36) return runTask(world, source.up ? source.tasks : [], stepSourceTask);
  if (dice < 0.66) return runTask(world, destination.up ? destination.tasks : [], stepDestinationTask);
  if (dice < 0.74) return link.mode === 'up' ? deliverToSource(world) : undefined;
  if (dice < 0.82) return link.mode === 'up' ? deliverToDestination(world) : undefined;
  if (dice < 0.88) return model.stepSourceQemu(world);
  if (dice < 0.91) {
    if (sourceQemu.mode === 'running' || sourceQemu.mode === 'feeding') sourceQemu.writes++;
    return undefined;
  }
  if (dice < 0.94) return watchQemus(world);
  if (dice < 0.96) return model.noticeLinkLost(world);
  if (dice < 0.975) return model.repeatStanding(world);
  return repair(world);
}

function repair(world: World): void {
  const { random, source, destination, link } = world;
  const dice = random();
  if (dice < 0.25) model.restartSourceAgent(world);
  else if (dice < 0.5) model.restartDestinationAgent(world);
  else if (dice < 0.8) {
    // A stall ends by data flowing again, or by the silence being noticed.
    if (link.mode === 'stalled' && random() < 0.5) model.cutLink(world);
    else if (link.mode !== 'up') model.healLink(world);
  } else if (dice < 0.9) source.disk.full = false;
  else destination.disk.full = false;
}

/** Any task may be the next, but appends happen in the order in which they were asked for. */
function runTask<Effect extends { readonly type: string }>(
  world: World,
  tasks: Task<Effect>[],
  run: (world: World, task: Task<Effect>) => boolean,
): void {
  const task = tasks[Math.floor(world.random() * tasks.length)];
  if (task === undefined) return;
  const next = task.do.type === 'journal' ? (tasks.find((other) => other.do.type === 'journal') ?? task) : task;
  if (run(world, next)) {
    const index = tasks.indexOf(next);
    if (index >= 0) tasks.splice(index, 1);
  }
}

function watchQemus(world: World): void {
  const { source, destination, sourceQemu, destinationQemu } = world;
  if (source.up && !source.sawQemuGone && sourceQemu.killed) {
    source.sawQemuGone = true;
    model.tellSource(world, { type: 'sourceQemuGone' });
  }
  // The socket's reader is the first to see a QEMU that resumed by itself.
  if (source.up && sourceQemu.mode === 'running') model.tellSource(world, { type: 'sourceRunning' });
  if (destination.up && !destination.sawQemuGone && destinationQemu.killed) {
    destination.sawQemuGone = true;
    model.tellDestination(world, { type: 'qemuGone' });
  }
}

function calmDown(world: World): void {
  world.trace.push('calm');
  world.source.disk.full = false;
  world.destination.disk.full = false;
  world.source.disk.syncFails = false;
  world.destination.disk.syncFails = false;
  for (let step = 0; step < CALM_STEPS_MAX; step++) {
    advance(world, true);
    checkStep(world);
    const { source, destination, link } = world;
    const settled = ended(world) && source.tasks.length === 0 && destination.tasks.length === 0;
    if (settled && link.mode === 'up' && link.toSource.length === 0 && link.toDestination.length === 0) return;
  }
}

function ended(world: World): boolean {
  const { source, destination } = world;
  if (!source.up || !destination.up) return false;
  const here = source.state === null || sourceEnded(source.state) || source.state.name === 'stranded';
  const there = destination.state === null || destinationEnded(destination.state) || destination.state.name === 'lost';
  return here && there;
}

function sourceRuns(world: World): boolean {
  return world.sourceQemu.mode === 'running' || world.sourceQemu.mode === 'feeding';
}

function hasCommit(world: World): boolean {
  const { records } = world.source.disk;
  return records.some((r) => r.type === 'commit') && !records.some((r) => r.type === 'returned');
}

function checkStep(world: World): void {
  const { sourceQemu, destinationQemu } = world;
  const runs = sourceRuns(world);
  if (runs && destinationQemu.mode === 'running') throw broken('SIM_TWO_RUNNING', 'the guest runs on both hosts');
  if (destinationQemu.everRan && destinationQemu.writes !== sourceQemu.writes) {
    const lost = sourceQemu.writes - destinationQemu.writes;
    throw broken('SIM_LOST_WRITE', `${lost} writes of the source are missing at the destination`);
  }
  const hasMemory = destinationQemu.mode === 'loaded' || destinationQemu.mode === 'running';
  if (sourceQemu.mode === 'gone' && !sourceQemu.killed && hasMemory && destinationQemu.missing > 0) {
    throw broken('SIM_PAGES_LOST', `the source is gone, and ${destinationQemu.missing} pages are missing`);
  }
  if (runs && hasCommit(world)) throw broken('SIM_RAN_AFTER_COMMIT', 'the source runs although COMMIT is on disk');
}

function checkEnd(world: World): void {
  const { source, destination, sourceQemu, destinationQemu } = world;
  if (!ended(world)) {
    const names = `${source.state?.name ?? '-'} and ${destination.state?.name ?? '-'}`;
    throw broken('SIM_NOT_ENDED', `after faults stopped the machines stay in ${names}`);
  }
  const there = destinationQemu.mode === 'running';
  if (there && destinationQemu.missing > 0 && !sourceQemu.killed) {
    throw broken('SIM_PAGES_LOST', `all has ended, and ${destinationQemu.missing} pages were never pulled`);
  }
  if (sourceRuns(world) || there) return;
  // None runs. That is right only if the QEMU was killed that owned the guest: there after COMMIT, here before.
  const owner = hasCommit(world) ? destinationQemu : sourceQemu;
  if (!owner.killed && !(owner === destinationQemu && owner.givenUp))
    throw broken('SIM_NONE_RUNNING', 'no host runs the guest, and nobody killed its QEMU');
  // Its memory is then still here, unless it has been used up there.
  if (owner === destinationQemu && !destinationQemu.everRan && sourceQemu.mode === 'gone' && !sourceQemu.killed) {
    throw broken('SIM_NONE_RUNNING', 'the last copy of the guest was thrown away');
  }
}

function broken(code: InvariantError['code'], what: string): InvariantError {
  return new InvariantError(code, what);
}

/** A small seeded generator; its quality is ample for choosing schedules. */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
