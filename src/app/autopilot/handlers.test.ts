import assert from 'node:assert/strict';
import { test } from 'node:test';
import { samplePlan, sampleReport, sampleView } from '../../core/api/testing.ts';
import { silentLogger } from '../../io/log/logger.ts';
import { Autopilot } from './autopilot.ts';
import { DecisionLog } from './decision-log.ts';
import { DrainJob } from './drain-job.ts';
import { autopilotHandlers } from './handlers.ts';
import { HostLease } from './lease.ts';
import { FakeFleet } from './testing.ts';

const signal = new AbortController().signal;
const person = { peer: null };
const [a, b, c] = ['a', 'b', 'c'].map((peer) => ({ peer })) as [{ peer: string }, { peer: string }, { peer: string }];
const ID = 'lease-of-b-1';

/** Host a, which obeys b. */
function hostA() {
  const fleet = new FakeFleet(['a', 'b', 'c']);
  const log = new DecisionLog(':memory:');
  const parts = {
    own: 'a',
    hosts: fleet.seenFrom('a'),
    defaults: {},
    log,
    logger: silentLogger,
    clockMs: fleet.clockMs,
  };
  const started: string[] = [];
  const handlers = autopilotHandlers({
    ...{ own: 'a', obey: new Set(['b']), hosts: parts.hosts, lease: new HostLease(fleet.clockMs) },
    autopilot: new Autopilot(parts),
    drain: new DrainJob({ ...parts, vmsHere: () => [], close: () => undefined }),
    capacityBytes: () => 1024,
    migrations: {
      start: async ({ vm, destination }) => {
        started.push(`${vm} to ${destination}`);
        return await Promise.resolve(sampleView({ vm, destination }));
      },
      plan: async () => await Promise.resolve(samplePlan),
      find: () => ({ view: sampleView(), report: sampleReport() }) as never,
    },
  });
  return { handlers, started, fleet };
}

const order = { body: { lease: ID, vm: 'web', destination: 'c' } };
const ask = (ttlMs: number, id = ID) => ({ body: { id, ttlMs } });

test('a move is ordered by the holder of the lease, if this host is told to obey it', async () => {
  const { handlers, started } = hostA();
  await assert.rejects(handlers.autopilotMove(order, signal, b), {
    code: 'LEASE_NOT_HELD',
    message: /obeys no autopilot now, and not this one of host "b"; nothing was moved/,
  });
  const answer = await handlers.autopilotLease(ask(10_000), signal, b);
  assert.deepEqual([answer.granted, answer.obeys, answer.holder, answer.capacityBytes], [true, true, 'b', 1024]);
  await handlers.autopilotMove(order, signal, b);
  assert.deepEqual(started, ['web to c']);
  await assert.rejects(handlers.autopilotMove({ body: { ...order.body, lease: 'lease-of-b-0' } }, signal, b), {
    code: 'LEASE_NOT_HELD',
  });
});

test('the name in the certificate counts: nobody else has the lease of b, whatever id he says', async () => {
  const { handlers, started } = hostA();
  await handlers.autopilotLease(ask(10_000), signal, b);
  await assert.rejects(handlers.autopilotMove(order, signal, a), {
    code: 'LEASE_NOT_HELD',
    message: /obeys the autopilot of host "b"/,
  });
  await assert.rejects(handlers.autopilotMove(order, signal, c), { code: 'NOT_OBEYED' });
  assert.equal((await handlers.autopilotLease(ask(0), signal, c)).holder, 'b', 'nor can he give it back');
  assert.deepEqual(started, []);
});

test('a host that is not obeyed gets the lease, and nothing else', async () => {
  const { handlers } = hostA();
  const answer = await handlers.autopilotLease(ask(10_000), signal, c);
  assert.deepEqual([answer.granted, answer.obeys], [true, false]);
  const refused = { code: 'NOT_OBEYED', message: /add c to "autopilot\.obey" in the configuration of a/ };
  const plan = { body: { vm: 'web', destination: 'b', measureMs: 3000 } };
  const drain = { body: { host: 'a', dryRun: false, settings: {} } };
  await assert.rejects(handlers.autopilotMove(order, signal, c), refused);
  await assert.rejects(handlers.autopilotPlan(plan, signal, c), refused);
  await assert.rejects(handlers.autopilotMoveState({ params: { id: 'm1' } }, signal, c), refused);
  await assert.rejects(handlers.drain(drain, signal, c), refused);
  await assert.rejects(handlers.drainState({ params: { host: 'a' } }, signal, c), refused);
  await assert.rejects(handlers.undrain({ body: { host: 'a' } }, signal, c), refused);
  assert.equal((await handlers.autopilotPlan(plan, signal, b)).vm, 'web');
});

test('a host may drain this one and no third; a person here may drain those that it knows', async () => {
  const { handlers } = hostA();
  const drain = (host: string) => ({ body: { host, dryRun: false, settings: {} } });
  assert.equal((await handlers.drain(drain('a'), signal, b)).draining, true);
  await assert.rejects(handlers.drain(drain('c'), signal, b), { code: 'PEER_UNKNOWN' });
  await assert.rejects(handlers.drain(drain('nowhere'), signal, person), {
    code: 'PEER_UNKNOWN',
    message: /knows no host "nowhere": it knows b, c/,
  });
  assert.equal((await handlers.undrain({ body: { host: 'a' } }, signal, person)).draining, false);
});
