/** The drivers of the simulated world: carries out effects in small steps, hands messages to the machines. */
import { canCancel } from './source-machine.ts';
import type { DestinationEffect } from './destination-states.ts';
import type { DestinationRecord, SourceRecord } from './records.ts';
import type { SourceEffect } from './source-states.ts';
import type { Message, Task, World } from './transaction.model.ts';
import { reopenDisk, reserveAtDestination, stepAppend, tellDestination, tellSource } from './transaction.model.ts';

/** One small step of a task of the source; true when the task is finished. */
export function stepSourceTask(world: World, task: Task<SourceEffect>): boolean {
  const { source, sourceQemu: qemu } = world;
  const effect = task.do;
  // The driver's duty: nothing of the data plane acts once the machine has left the states it belongs to.
  if (dataPlane.has(effect.type) && (source.state === null || !canCancel(source.state))) return true;
  switch (effect.type) {
    case 'journal': {
      const { type } = effect.entry;
      const record = { migrationId: 'm', at: '', ...effect.entry } as SourceRecord;
      const end = stepAppend(world, source.disk, task, record);
      if (end === undefined) return false;
      if (end === 'written') tellSource(world, { type: 'journalled', entry: type });
      else tellSource(world, { type: 'journalFailed', entry: type, certain: end === 'surelyNot', reason: end });
      return true;
    }
    case 'rereadJournal':
      if (source.disk.full) return false;
      reopenDisk(world, source.disk);
      tellSource(world, { type: 'journalReread', commitFound: source.disk.records.some((r) => r.type === 'commit') });
      return true;
    case 'startFeed':
      if (qemu.mode !== 'running') return true;
      qemu.mode = 'feeding';
      qemu.socketOpen = true;
      source.tasks.push({ do: { type: 'copy' }, at: 0 });
      return send(world, 'toDestination', { type: 'feed' });
    case 'sendEpilogue':
      return send(world, 'toDestination', { type: 'epilogue', writes: qemu.writes });
    case 'releaseSourceQemu':
      if (task.at++ === 0 && qemu.socketOpen) qemu.inbox.push('shut0');
      return pollRelease(world);
    case 'resumeSource':
      return resume(world);
    case 'haltSource':
      if (qemu.mode === 'running') qemu.mode = 'postmigrate';
      return true;
    case 'quitSourceQemu':
      if (qemu.mode !== 'gone') world.trace.push('S QEMU quit');
      qemu.mode = 'gone';
      tellSource(world, { type: 'sourceQemuGone' });
      return true;
    case 'reserve':
      return send(world, 'toDestination', { type: 'reserve' });
    case 'tellCommit':
      return send(world, 'toDestination', { type: 'commit' });
    case 'servePages':
      if (qemu.mode === 'gone') tellSource(world, { type: 'sourceQemuGone' });
      return send(world, 'toDestination', { type: 'commit' });
    case 'tellAbort':
      return send(world, 'toDestination', { type: 'abort' });
    case 'tellDone':
      return send(world, 'toDestination', { type: 'done' });
    case 'answer':
      return send(world, 'toDestination', { type: 'answer', answer: effect.answer });
    case 'report':
      return true;
    case 'goSwitchover':
    case 'copy':
    case 'stopGuest':
    case 'drain':
      return stepCopy(world, effect.type);
  }
}

const PULLED_PAGES = 3;

const dataPlane: ReadonlySet<string> = new Set([
  'reserve',
  'startFeed',
  'goSwitchover',
  'sendEpilogue',
  'releaseSourceQemu',
  'copy',
  'stopGuest',
  'drain',
]);

/** The data plane, as far as the transaction sees it. */
function stepCopy(world: World, what: 'goSwitchover' | 'copy' | 'stopGuest' | 'drain'): boolean {
  const { source, sourceQemu: qemu } = world;
  const next = (type: 'stopGuest' | 'drain') => source.tasks.push({ do: { type }, at: 0 });
  if (what === 'copy' && qemu.mode === 'feeding') {
    // An idle guest on QEMU 7.2 may be stopped without anybody having asked.
    if (world.random() < 0.2) next('stopGuest');
    tellSource(world, { type: 'switchoverWanted' });
  }
  if (what === 'goSwitchover') next('stopGuest');
  if (what === 'stopGuest' && qemu.mode === 'feeding' && qemu.inbox.length === 0) {
    qemu.mode = 'waiting';
    tellSource(world, { type: 'guestStopped' });
    next('drain');
  }
  if (what === 'drain' && qemu.mode === 'waiting') tellSource(world, { type: 'drained' });
  return true;
}

function pollRelease(world: World): boolean {
  const { mode } = world.sourceQemu;
  if (mode === 'waiting') return false;
  if (mode === 'postmigrate') tellSource(world, { type: 'postmigrateReached' });
  else if (mode === 'running') tellSource(world, { type: 'sourceRunning' });
  else if (mode === 'gone') tellSource(world, { type: 'sourceQemuGone' });
  return true;
}

function resume(world: World): boolean {
  const qemu = world.sourceQemu;
  if (qemu.socketOpen) {
    qemu.socketOpen = false;
    qemu.inbox.push('close');
    return false;
  }
  if (qemu.mode === 'feeding' || qemu.mode === 'waiting') return false;
  if (qemu.mode === 'postmigrate') {
    qemu.mode = 'running';
    world.trace.push('S cont');
  }
  tellSource(world, { type: qemu.mode === 'gone' ? 'sourceQemuGone' : 'sourceRunning' });
  return true;
}

/** One small step of a task of the destination; true when the task is finished. */
export function stepDestinationTask(world: World, task: Task<DestinationEffect>): boolean {
  const { destination, destinationQemu: qemu } = world;
  const effect = task.do;
  switch (effect.type) {
    case 'journal': {
      const { type } = effect.entry;
      const record = { migrationId: 'm', at: '', ...effect.entry } as DestinationRecord;
      const end = stepAppend(world, destination.disk, task, record);
      if (end === undefined) return false;
      if (end === 'written') tellDestination(world, { type: 'journalled', entry: type });
      else tellDestination(world, { type: 'journalFailed', entry: type, certain: end === 'surelyNot', reason: end });
      return true;
    }
    case 'holdReservation':
      if (destination.state?.name !== 'reserving') return true;
      qemu.mode = 'incoming';
      tellDestination(world, { type: 'reservationHeld' });
      return true;
    case 'loadEpilogue':
      if (qemu.mode !== 'incoming') return true;
      qemu.mode = 'loaded';
      qemu.writes = qemu.received;
      qemu.missing = world.pull ? PULLED_PAGES : 0;
      tellDestination(world, { type: 'loaded', qemu: '2:2', pull: world.pull });
      return true;
    case 'runGuest':
      if (qemu.mode === 'loaded') {
        qemu.mode = 'running';
        qemu.everRan = true;
        world.trace.push('D cont');
        return false;
      }
      if (qemu.mode === 'running') tellDestination(world, { type: 'guestRunning', pulling: qemu.missing > 0 });
      return true;
    case 'discardIncoming':
      if (qemu.mode !== 'none') qemu.mode = 'gone';
      tellDestination(world, { type: 'incomingGone' });
      return true;
    case 'tellReserved':
      return send(world, 'toSource', { type: 'reserved' });
    case 'tellPrepared':
      return send(world, 'toSource', { type: 'prepared' });
    case 'tellFailed':
      return send(world, 'toSource', { type: 'failed' });
    case 'querySource':
      return send(world, 'toSource', { type: 'query' });
    case 'tellActive':
      return send(world, 'toSource', { type: 'active', pulling: effect.pulling });
    case 'pullPages':
      if (qemu.mode !== 'running') return true;
      if (qemu.missing > 0) return send(world, 'toSource', { type: 'pull' });
      tellDestination(world, { type: 'pagesPulled' });
      return true;
    case 'tellGone':
      return send(world, 'toSource', { type: 'gone', mayHaveRun: effect.mayHaveRun });
    case 'report':
    case 'copy':
    case 'stopGuest':
    case 'drain':
      return true;
  }
}

/** Messages are lost when there is no connection: whoever cares repeats. Always finished. */
function send(world: World, queue: 'toSource' | 'toDestination', message: Message): true {
  if (world.link.mode !== 'down') world.link[queue].push(message);
  return true;
}

const cause = { code: 'FERRY_PEER', reason: 'simulated' };

export function deliverToSource(world: World): void {
  const message = world.link.toSource.shift();
  if (message === undefined) return;
  if (world.source.state === null) {
    // An id that the journal does not know (any more).
    if (message.type === 'query') send(world, 'toDestination', { type: 'answer', answer: 'unknown' });
    else if (message.type === 'active' || message.type === 'gone' || message.type === 'pull')
      send(world, 'toDestination', { type: 'done' });
    else send(world, 'toDestination', { type: 'abort' });
    return;
  }
  if (message.type === 'reserved') tellSource(world, { type: 'reserved' });
  if (message.type === 'prepared') tellSource(world, { type: 'preparedReceived' });
  if (message.type === 'active') tellSource(world, { type: 'activeReceived', pulling: message.pulling });
  if (message.type === 'pull') servePage(world);
  if (message.type === 'gone') tellSource(world, { type: 'destinationGone', mayHaveRun: message.mayHaveRun });
  if (message.type === 'failed') tellSource(world, { type: 'destinationFailed', cause });
  if (message.type === 'query') tellSource(world, { type: 'queried' });
}

/** A page can be had while its QEMU is there and finally stopped. */
function servePage(world: World): void {
  const { mode } = world.sourceQemu;
  if (mode === 'waiting' || mode === 'postmigrate') send(world, 'toDestination', { type: 'page' });
}

/** QEMU takes a page; behind the last one it says that it has all. */
function placePage(world: World): void {
  const { destinationQemu: qemu } = world;
  if (qemu.missing === 0 || (qemu.mode !== 'loaded' && qemu.mode !== 'running')) return;
  qemu.missing--;
  if (qemu.missing === 0) tellDestination(world, { type: 'pagesPulled' });
}

export function deliverToDestination(world: World): void {
  const message = world.link.toDestination.shift();
  if (message === undefined) return;
  if (world.destination.state === null) {
    if (message.type === 'reserve') reserveAtDestination(world);
    // Nothing is known of it here: DISCARDED was dropped at open, or it never came to PREPARED.
    if (message.type === 'commit') send(world, 'toSource', { type: 'gone', mayHaveRun: false });
    return;
  }
  if (message.type === 'feed') tellDestination(world, { type: 'feedStarted' });
  if (message.type === 'epilogue') {
    world.destinationQemu.received = message.writes;
    tellDestination(world, { type: 'epilogueReceived' });
  }
  if (message.type === 'commit') tellDestination(world, { type: 'commitReceived' });
  if (message.type === 'abort') tellDestination(world, { type: 'abortReceived' });
  if (message.type === 'done') tellDestination(world, { type: 'doneReceived' });
  if (message.type === 'page') placePage(world);
  if (message.type === 'answer') tellDestination(world, { type: 'answered', answer: message.answer });
}
