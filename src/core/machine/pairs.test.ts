/**
 * Every pair of state and event, against a table that was read line by line: what happens -> on which events. A pair that is
 * not in the table is one that only a broken driver can bring about, and must be refused as illegal.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { stepDestination } from './destination-machine.ts';
import { cell, destinationEvents, destinationStates, sourceEvents, sourceStates } from './pairs.ts';
import { stepSource } from './source-machine.ts';

type Table = Readonly<Record<string, Readonly<Record<string, string>>>>;

const sourceTable: Table = {
  preparing: {
    'reserving: reserve': 'journalled:begin',
    'aborting: resumeSource tellAbort':
      'failed:begin reserved preparedReceived sourceQemuGone destinationFailed destinationGone:clean destinationGone:ran linkLost failed cancelled',
    ignored: 'sourceRunning',
    'aborting: resumeSource tellAbort report(ownershipConflict)': 'activeReceived activeReceived:pulling',
    'stays: answer(undecided)': 'queried',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  reserving: {
    'copying: startFeed': 'reserved',
    'aborting: resumeSource tellAbort':
      'preparedReceived sourceQemuGone destinationFailed destinationGone:clean destinationGone:ran linkLost failed cancelled',
    ignored: 'sourceRunning',
    'aborting: resumeSource tellAbort report(ownershipConflict)': 'activeReceived activeReceived:pulling',
    'stays: answer(undecided)': 'queried',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  copying: {
    ignored: 'reserved sourceRunning',
    'stopping: goSwitchover': 'switchoverWanted',
    transferring: 'guestStopped',
    'aborting: resumeSource tellAbort':
      'preparedReceived sourceQemuGone destinationFailed destinationGone:clean destinationGone:ran linkLost failed cancelled',
    'aborting: resumeSource tellAbort report(ownershipConflict)': 'activeReceived activeReceived:pulling',
    'stays: answer(undecided)': 'queried',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  stopping: {
    ignored: 'reserved switchoverWanted sourceRunning',
    transferring: 'guestStopped',
    'aborting: resumeSource tellAbort':
      'preparedReceived sourceQemuGone destinationFailed destinationGone:clean destinationGone:ran linkLost failed cancelled',
    'aborting: resumeSource tellAbort report(ownershipConflict)': 'activeReceived activeReceived:pulling',
    'stays: answer(undecided)': 'queried',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  transferring: {
    ignored: 'reserved switchoverWanted guestStopped',
    'transferring: sendEpilogue': 'drained',
    'fencing: releaseSourceQemu': 'preparedReceived',
    'aborting: resumeSource tellAbort':
      'sourceRunning sourceQemuGone destinationFailed destinationGone:clean destinationGone:ran linkLost failed cancelled',
    'aborting: resumeSource tellAbort report(ownershipConflict)': 'activeReceived activeReceived:pulling',
    'stays: answer(undecided)': 'queried',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  'transferring:waiting': {
    ignored: 'reserved switchoverWanted guestStopped',
    'transferring: sendEpilogue': 'drained',
    'aborting: resumeSource tellAbort':
      'preparedReceived sourceRunning sourceQemuGone destinationFailed destinationGone:clean destinationGone:ran linkLost failed cancelled',
    'aborting: resumeSource tellAbort report(ownershipConflict)': 'activeReceived activeReceived:pulling',
    'stays: answer(undecided)': 'queried',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  fencing: {
    ignored: 'reserved preparedReceived',
    'committing: journal(commit)': 'postmigrateReached',
    'aborting: resumeSource tellAbort':
      'sourceRunning sourceQemuGone destinationFailed destinationGone:clean destinationGone:ran linkLost failed cancelled',
    'aborting: resumeSource tellAbort report(ownershipConflict)': 'activeReceived activeReceived:pulling',
    'stays: answer(undecided)': 'queried',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  committing: {
    'handedOver: tellCommit': 'journalled:commit',
    'aborting: resumeSource tellAbort': 'failed:commit:certain',
    'inDoubt: rereadJournal report(outcomeUncertain)': 'failed:commit:uncertain',
    ignored:
      'reserved preparedReceived postmigrateReached sourceQemuGone destinationFailed destinationGone:clean destinationGone:ran linkLost failed',
    'stays: haltSource report(ownershipConflict)': 'sourceRunning',
    'stays: report(ownershipConflict)': 'activeReceived activeReceived:pulling',
    'stays: report(cancelRefused)': 'cancelled',
    'stays: answer(undecided)': 'queried',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  inDoubt: {
    'handedOver: tellCommit': 'journalReread:commit',
    'aborting: resumeSource tellAbort': 'journalReread:none',
    ignored:
      'reserved preparedReceived postmigrateReached sourceQemuGone destinationFailed destinationGone:clean destinationGone:ran linkLost failed',
    'stays: haltSource report(ownershipConflict)': 'sourceRunning',
    'stays: report(ownershipConflict)': 'activeReceived activeReceived:pulling',
    'stays: report(cancelRefused)': 'cancelled',
    'stays: answer(undecided)': 'queried',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  handedOver: {
    ignored:
      'journalReread:commit reserved preparedReceived postmigrateReached sourceQemuGone destinationFailed linkLost failed',
    'stays: haltSource report(ownershipConflict)': 'sourceRunning',
    'quitting: quitSourceQemu report(handedOver)': 'activeReceived',
    'serving: servePages report(serving)': 'activeReceived:pulling',
    'stranded: report(stranded)': 'destinationGone:clean destinationGone:ran',
    'stays: report(cancelRefused)': 'cancelled',
    'stays: answer(committed)': 'queried',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  quitting: {
    ignored:
      'journalReread:commit reserved preparedReceived postmigrateReached activeReceived activeReceived:pulling destinationFailed destinationGone:clean destinationGone:ran linkLost failed',
    'stays: haltSource report(ownershipConflict)': 'sourceRunning',
    'finishing: journal(done)': 'sourceQemuGone',
    'stays: report(cancelRefused)': 'cancelled',
    'stays: answer(committed)': 'queried',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  serving: {
    ignored:
      'journalReread:commit reserved preparedReceived postmigrateReached activeReceived:pulling destinationFailed failed',
    'stays: haltSource report(ownershipConflict)': 'sourceRunning',
    'stays: servePages': 'linkLost',
    'quitting: quitSourceQemu report(handedOver)': 'activeReceived',
    'finishing: journal(done)': 'sourceQemuGone',
    'stranded: report(stranded)': 'destinationGone:clean destinationGone:ran',
    'stays: report(cancelRefused)': 'cancelled',
    'stays: answer(committed)': 'queried',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  finishing: {
    'done: tellDone report(completed)': 'journalled:done',
    'stays: journal(done)': 'failed:done',
    ignored:
      'journalReread:commit reserved preparedReceived sourceRunning sourceQemuGone activeReceived activeReceived:pulling destinationFailed destinationGone:clean destinationGone:ran linkLost failed',
    'stays: report(cancelRefused)': 'cancelled',
    'stays: answer(committed)': 'queried',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  'finishing:lost': {
    'done: tellDone report(pagesLost)': 'journalled:done',
    'stays: journal(done)': 'failed:done',
    ignored:
      'journalReread:commit reserved preparedReceived sourceRunning sourceQemuGone activeReceived activeReceived:pulling destinationFailed destinationGone:clean destinationGone:ran linkLost failed',
    'stays: report(cancelRefused)': 'cancelled',
    'stays: answer(committed)': 'queried',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  done: {
    ignored:
      'journalReread:commit reserved preparedReceived sourceRunning sourceQemuGone destinationFailed linkLost failed',
    'stays: tellDone': 'activeReceived activeReceived:pulling destinationGone:clean destinationGone:ran',
    'stays: report(cancelRefused)': 'cancelled',
    'stays: answer(committed)': 'queried',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  'stranded:clean': {
    ignored:
      'journalReread:commit reserved preparedReceived postmigrateReached sourceQemuGone destinationFailed destinationGone:clean destinationGone:ran linkLost failed',
    'stays: haltSource report(ownershipConflict)': 'sourceRunning',
    'stays: report(ownershipConflict)': 'activeReceived activeReceived:pulling',
    'stays: report(cancelRefused)': 'cancelled',
    'stays: answer(committed)': 'queried',
    'returning: journal(returned)': 'person:run',
    'quitting: quitSourceQemu': 'person:discard',
  },
  'stranded:ran': {
    ignored:
      'journalReread:commit reserved preparedReceived postmigrateReached sourceQemuGone destinationFailed destinationGone:clean destinationGone:ran linkLost failed',
    'stays: haltSource report(ownershipConflict)': 'sourceRunning',
    'stays: report(ownershipConflict)': 'activeReceived activeReceived:pulling',
    'stays: report(cancelRefused)': 'cancelled',
    'stays: answer(committed)': 'queried',
    'stays: report(decisionRefused)': 'person:run',
    'quitting: quitSourceQemu': 'person:discard',
  },
  returning: {
    'aborting: resumeSource tellAbort': 'journalled:returned',
    'stays: journal(returned)': 'failed:returned',
    ignored:
      'reserved preparedReceived sourceRunning sourceQemuGone destinationFailed destinationGone:clean destinationGone:ran linkLost failed',
    'stays: report(ownershipConflict)': 'activeReceived activeReceived:pulling',
    'stays: report(cancelRefused)': 'cancelled',
    'stays: answer(undecided)': 'queried',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  aborting: {
    ignored:
      'journalled:begin failed:begin journalReread:none switchoverWanted guestStopped drained postmigrateReached destinationFailed destinationGone:clean destinationGone:ran linkLost failed',
    'stays: tellAbort': 'reserved preparedReceived',
    'closing: journal(aborted)': 'sourceRunning sourceQemuGone',
    'stays: report(ownershipConflict)': 'activeReceived activeReceived:pulling',
    'stays: report(cancelRefused)': 'cancelled',
    'stays: answer(aborted)': 'queried',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  closing: {
    ignored:
      'journalled:begin failed:begin journalReread:none switchoverWanted guestStopped drained postmigrateReached sourceRunning sourceQemuGone destinationFailed destinationGone:clean destinationGone:ran linkLost failed',
    'aborted: report(aborted)': 'journalled:aborted',
    'stays: journal(aborted)': 'failed:aborted',
    'stays: tellAbort': 'reserved preparedReceived',
    'stays: report(ownershipConflict)': 'activeReceived activeReceived:pulling',
    'stays: report(cancelRefused)': 'cancelled',
    'stays: answer(aborted)': 'queried',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  aborted: {
    ignored:
      'journalled:begin failed:begin journalReread:none switchoverWanted guestStopped drained postmigrateReached sourceRunning sourceQemuGone destinationFailed linkLost failed',
    'stays: tellAbort': 'reserved preparedReceived',
    'stays: report(ownershipConflict)': 'activeReceived activeReceived:pulling',
    'stays: tellDone': 'destinationGone:clean destinationGone:ran',
    'stays: report(cancelRefused)': 'cancelled',
    'stays: answer(aborted)': 'queried',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
};

const destinationTable: Table = {
  reserving: {
    'stays: holdReservation': 'journalled:reserved',
    'discarding: discardIncoming tellFailed':
      'failed:reserved feedStarted epilogueReceived commitReceived failed qemuGone',
    'reserved: tellReserved': 'reservationHeld',
    'discarding: discardIncoming': 'abortReceived linkLost',
    ignored: 'answered:committed answered:aborted answered:unknown answered:undecided doneReceived leaseExpired',
    'stays: report(ownershipConflict)': 'guestRunning guestRunning:pulling',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  reserved: {
    receiving: 'feedStarted',
    'discarding: discardIncoming tellFailed': 'epilogueReceived commitReceived leaseExpired failed qemuGone',
    'discarding: discardIncoming': 'abortReceived linkLost',
    ignored: 'answered:committed answered:aborted answered:unknown answered:undecided doneReceived',
    'stays: report(ownershipConflict)': 'guestRunning guestRunning:pulling',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  receiving: {
    ignored: 'feedStarted answered:committed answered:aborted answered:unknown answered:undecided doneReceived',
    'loading: loadEpilogue': 'epilogueReceived',
    'discarding: discardIncoming tellFailed': 'commitReceived leaseExpired failed qemuGone',
    'discarding: discardIncoming': 'abortReceived linkLost',
    'stays: report(ownershipConflict)': 'guestRunning guestRunning:pulling',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  loading: {
    ignored:
      'pagesPulled feedStarted answered:committed answered:aborted answered:unknown answered:undecided doneReceived',
    'discarding: discardIncoming tellFailed': 'epilogueReceived commitReceived leaseExpired failed qemuGone',
    'preparing: journal(prepared)': 'loaded',
    'discarding: discardIncoming': 'abortReceived linkLost',
    'stays: report(ownershipConflict)': 'guestRunning guestRunning:pulling',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  preparing: {
    'prepared: tellPrepared': 'journalled:prepared',
    'discarding: discardIncoming tellFailed': 'failed:prepared epilogueReceived commitReceived failed qemuGone',
    ignored:
      'pagesPulled feedStarted answered:committed answered:aborted answered:unknown answered:undecided doneReceived leaseExpired',
    'discarding: discardIncoming': 'abortReceived linkLost',
    'stays: report(ownershipConflict)': 'guestRunning guestRunning:pulling',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  prepared: {
    ignored:
      'pagesPulled feedStarted epilogueReceived answered:committed answered:aborted answered:unknown answered:undecided doneReceived leaseExpired failed',
    'committing: journal(committed)': 'commitReceived',
    'discarding: discardIncoming': 'abortReceived',
    'inDoubt: querySource report(inDoubt)': 'linkLost',
    'discarding: discardIncoming tellFailed': 'qemuGone',
    'stays: report(ownershipConflict)': 'guestRunning guestRunning:pulling',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  inDoubt: {
    ignored: 'pagesPulled feedStarted epilogueReceived answered:undecided doneReceived linkLost leaseExpired failed',
    'committing: journal(committed)': 'commitReceived answered:committed person:run',
    'discarding: discardIncoming': 'abortReceived answered:aborted answered:unknown qemuGone person:discard',
    'stays: report(ownershipConflict)': 'guestRunning guestRunning:pulling',
  },
  committing: {
    'committed: runGuest': 'journalled:committed',
    'stays: journal(committed)': 'failed:committed',
    ignored:
      'pagesPulled feedStarted epilogueReceived commitReceived answered:committed answered:aborted answered:unknown answered:undecided doneReceived linkLost leaseExpired failed',
    'stays: report(ownershipConflict)': 'abortReceived guestRunning guestRunning:pulling',
    'losing: journal(lost)': 'qemuGone',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  committed: {
    ignored:
      'pagesPulled feedStarted epilogueReceived commitReceived answered:committed answered:aborted answered:unknown answered:undecided doneReceived linkLost leaseExpired failed',
    'stays: report(ownershipConflict)': 'abortReceived',
    'losing: journal(lost)': 'qemuGone',
    'activating: journal(active) report(runningHere)': 'guestRunning guestRunning:pulling',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  activating: {
    'active: tellActive': 'journalled:active',
    'stays: journal(active)': 'failed:active',
    ignored:
      'pagesPulled feedStarted epilogueReceived commitReceived answered:committed answered:aborted answered:unknown answered:undecided doneReceived linkLost leaseExpired failed guestRunning guestRunning:pulling',
    'stays: report(ownershipConflict)': 'abortReceived',
    'stays: report(guestDied)': 'qemuGone',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  'activating:pulling': {
    'pulling: pullPages tellActive(pulling)': 'journalled:active',
    activating: 'pagesPulled',
    'stays: journal(active)': 'failed:active',
    ignored:
      'feedStarted epilogueReceived commitReceived answered:committed answered:aborted answered:unknown answered:undecided doneReceived linkLost leaseExpired failed guestRunning guestRunning:pulling',
    'stays: report(ownershipConflict)': 'abortReceived',
    'losing: journal(lost)': 'qemuGone',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  pulling: {
    ignored:
      'feedStarted epilogueReceived answered:committed answered:aborted answered:unknown answered:undecided linkLost leaseExpired failed guestRunning guestRunning:pulling',
    'stays: tellActive(pulling)': 'commitReceived',
    'completing: journal(pulled)': 'pagesPulled',
    'losing: journal(lost)': 'qemuGone',
    'losing: journal(lost) report(pagesLost)': 'doneReceived person:discard',
    'stays: report(ownershipConflict)': 'abortReceived',
    'stays: report(decisionRefused)': 'person:run',
  },
  completing: {
    'active: tellActive': 'journalled:pulled',
    'stays: journal(pulled)': 'failed:pulled',
    ignored:
      'pagesPulled feedStarted epilogueReceived answered:committed answered:aborted answered:unknown answered:undecided doneReceived linkLost leaseExpired failed guestRunning guestRunning:pulling',
    'stays: tellActive(pulling)': 'commitReceived',
    'stays: report(ownershipConflict)': 'abortReceived',
    'stays: report(guestDied)': 'qemuGone',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  active: {
    ignored:
      'pagesPulled feedStarted epilogueReceived answered:committed answered:aborted answered:unknown answered:undecided linkLost leaseExpired failed guestRunning guestRunning:pulling',
    'stays: tellActive': 'commitReceived',
    'stays: report(ownershipConflict)': 'abortReceived',
    'releasing: journal(released)': 'doneReceived',
    'stays: report(guestDied)': 'qemuGone',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  releasing: {
    released: 'journalled:released',
    'stays: journal(released)': 'failed:released',
    ignored:
      'pagesPulled feedStarted epilogueReceived answered:committed answered:aborted answered:unknown answered:undecided doneReceived linkLost leaseExpired failed qemuGone guestRunning guestRunning:pulling',
    'stays: tellActive': 'commitReceived',
    'stays: report(ownershipConflict)': 'abortReceived',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  released: {
    ignored:
      'pagesPulled feedStarted epilogueReceived answered:committed answered:aborted answered:unknown answered:undecided doneReceived linkLost leaseExpired failed qemuGone guestRunning guestRunning:pulling',
    'stays: tellActive': 'commitReceived',
    'stays: report(ownershipConflict)': 'abortReceived',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  discarding: {
    ignored:
      'journalled:active failed:active pagesPulled journalled:reserved journalled:prepared journalled:committed failed:reserved failed:prepared failed:committed reservationHeld feedStarted epilogueReceived loaded commitReceived abortReceived answered:committed answered:aborted answered:unknown answered:undecided doneReceived linkLost leaseExpired failed qemuGone',
    'forgetting: journal(discarded)': 'incomingGone',
    'stays: report(ownershipConflict)': 'guestRunning guestRunning:pulling',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  forgetting: {
    ignored:
      'journalled:active failed:active pagesPulled journalled:reserved journalled:prepared journalled:committed failed:reserved failed:prepared failed:committed reservationHeld feedStarted epilogueReceived loaded commitReceived abortReceived answered:committed answered:aborted answered:unknown answered:undecided doneReceived linkLost leaseExpired failed qemuGone incomingGone',
    'discarded: tellGone report(discarded)': 'journalled:discarded',
    'stays: journal(discarded)': 'failed:discarded',
    'stays: report(ownershipConflict)': 'guestRunning guestRunning:pulling',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  discarded: {
    ignored:
      'journalled:active failed:active pagesPulled journalled:reserved journalled:prepared journalled:committed failed:reserved failed:prepared failed:committed reservationHeld feedStarted epilogueReceived loaded abortReceived answered:committed answered:aborted answered:unknown answered:undecided doneReceived linkLost leaseExpired failed qemuGone incomingGone',
    'stays: tellGone': 'commitReceived',
    'stays: report(ownershipConflict)': 'guestRunning guestRunning:pulling',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  losing: {
    ignored:
      'journalled:active failed:active pagesPulled journalled:reserved journalled:prepared journalled:committed failed:reserved failed:prepared failed:committed reservationHeld feedStarted epilogueReceived loaded commitReceived abortReceived answered:committed answered:aborted answered:unknown answered:undecided doneReceived linkLost leaseExpired failed qemuGone incomingGone guestRunning guestRunning:pulling',
    'lost: tellGone report(lost)': 'journalled:lost',
    'stays: journal(lost)': 'failed:lost',
    'stays: report(decisionRefused)': 'person:run person:discard',
  },
  lost: {
    ignored:
      'journalled:active failed:active pagesPulled journalled:reserved journalled:prepared journalled:committed failed:reserved failed:prepared failed:committed reservationHeld feedStarted epilogueReceived loaded abortReceived answered:committed answered:aborted answered:unknown answered:undecided linkLost leaseExpired failed qemuGone incomingGone guestRunning guestRunning:pulling',
    'stays: tellGone': 'commitReceived',
    'releasing: journal(released)': 'doneReceived person:discard',
    'stays: report(decisionRefused)': 'person:run',
  },
};

/** What the table says of a pair. */
function expected(table: Table, state: string, event: string): string {
  const rows = Object.entries(table[state] ?? {}).filter(([, events]) => events.split(' ').includes(event));
  assert.ok(rows.length <= 1, `${state} + ${event} is in the table twice`);
  return rows[0]?.[0] ?? 'illegal';
}

test('the source does in every state on every event what the table says', () => {
  assert.deepEqual(Object.keys(sourceTable), Object.keys(sourceStates));
  for (const [stateKey, state] of Object.entries(sourceStates)) {
    for (const [eventKey, event] of Object.entries(sourceEvents)) {
      assert.equal(
        cell(stepSource, state, event),
        expected(sourceTable, stateKey, eventKey),
        `${stateKey} + ${eventKey}`,
      );
    }
  }
});

test('the destination does in every state on every event what the table says', () => {
  assert.deepEqual(Object.keys(destinationTable), Object.keys(destinationStates));
  for (const [stateKey, state] of Object.entries(destinationStates)) {
    for (const [eventKey, event] of Object.entries(destinationEvents)) {
      const wanted = expected(destinationTable, stateKey, eventKey);
      assert.equal(cell(stepDestination, state, event), wanted, `${stateKey} + ${eventKey}`);
    }
  }
});

/** "from to" of every change of state in a table. */
function edgesOf(table: Table): Set<string> {
  const edges = new Set<string>();
  for (const [stateKey, rows] of Object.entries(table)) {
    const from = stateKey.split(':')[0] ?? '';
    for (const what of Object.keys(rows)) {
      const to = what.split(':')[0] ?? '';
      if (to !== 'ignored' && to !== 'stays' && to !== from) edges.add(`${from} ${to}`);
    }
  }
  return edges;
}

function drawnEdges(path: string): Set<string> {
  const text = readFileSync(new URL(path, import.meta.url), 'utf8');
  const edges = [...text.matchAll(/^[ *]*(\w+) --> (\w+)/gm)].map(([, from, to]) => `${from} ${to}`);
  return new Set(edges);
}

test('the diagrams show exactly the changes of state there are', () => {
  const sorted = (edges: Set<string>) => [...edges].sort();
  assert.deepEqual(sorted(drawnEdges('./source-machine.ts')), sorted(edgesOf(sourceTable)));
  assert.deepEqual(sorted(drawnEdges('./destination-machine.ts')), sorted(edgesOf(destinationTable)));
});

test('no way leads from an abort to COMMIT, nor from COMMIT to a running source without a person', () => {
  const reach = (from: string, table: Table, without: string[] = []) => {
    const seen = new Set([from]);
    for (const at of seen) {
      for (const edge of edgesOf(table)) {
        const [start, end] = edge.split(' ');
        if (start === at && end !== undefined && !without.includes(end)) seen.add(end);
      }
    }
    return seen;
  };
  assert.deepEqual([...reach('aborting', sourceTable)].sort(), ['aborted', 'aborting', 'closing']);
  assert.equal(reach('handedOver', sourceTable, ['returning']).has('aborting'), false);
  assert.equal(reach('discarding', destinationTable).has('committed'), false);
});

test('a source that has served pages never takes the guest for one that did not run', () => {
  const { state } = stepSource({ name: 'serving' }, { type: 'destinationGone', mayHaveRun: false });
  assert.deepEqual(state, { name: 'stranded', mayHaveRun: true });
});
