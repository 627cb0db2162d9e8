import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { LeaseKeeper } from './lease-keeper.ts';
import { FakeFleet } from './testing.ts';

const TTL_MS = 100;

function fleetOf(names: readonly string[]) {
  const clock = { nowMs: 0 };
  const fleet = new FakeFleet(names, () => clock.nowMs);
  const keeper = (own: string, hosts = names) =>
    new LeaseKeeper(
      own,
      fleet.seenFrom(own).filter(({ name }) => hosts.includes(name)),
      () => clock.nowMs,
    );
  return { clock, fleet, keeper };
}

test('the second autopilot finds the leases held, says by whom, and takes over when the first is gone', async () => {
  const { clock, keeper, fleet } = fleetOf(['a', 'b']);
  const [first, second] = [keeper('b'), keeper('a')];
  await first.renew(TTL_MS);
  await second.renew(TTL_MS);
  assert.deepEqual([first.holds('a'), first.holds('b'), first.obstacle], [true, true, null]);
  assert.deepEqual([second.holds('a'), second.holds('b')], [false, false]);
  assert.deepEqual(second.obstacle, { host: 'a', holder: 'b' });
  clock.nowMs += TTL_MS;
  await second.renew(TTL_MS);
  assert.deepEqual([second.holds('a'), second.holds('b'), second.obstacle], [true, true, null]);
  assert.deepEqual([first.holds('a'), first.holds('b')], [false, false], 'the first knows that its time is over');
  assert.equal(fleet.host('a').lease.holder, 'a');
});

test('what is given back is free at once', async () => {
  const { keeper } = fleetOf(['a', 'b']);
  const [first, second] = [keeper('a'), keeper('b')];
  await first.renew(TTL_MS);
  await first.release();
  await second.renew(TTL_MS);
  assert.deepEqual([second.holds('a'), second.holds('b')], [true, true]);
});

test('a host that does not answer takes no part, once its lease is over', async () => {
  const { clock, keeper, fleet } = fleetOf(['a', 'b']);
  const pilot = keeper('a');
  await pilot.renew(TTL_MS);
  fleet.host('b').isUp = false;
  clock.nowMs += TTL_MS / 2;
  await pilot.renew(TTL_MS);
  assert.equal(pilot.holds('b'), true, 'it may have heard nothing else');
  assert.match(pilot.viewOf('b').problem ?? '', /cannot be reached/);
  clock.nowMs += TTL_MS / 2;
  await pilot.renew(TTL_MS);
  assert.deepEqual([pilot.holds('a'), pilot.holds('b'), pilot.viewOf('b').answer], [true, false, null]);
});

test('whatever is asked when, and whoever is away: no host obeys two, and in the end one autopilot has all', async () => {
  const event = fc.record({
    who: fc.nat({ max: 2 }),
    what: fc.constantFrom('renew', 'renew', 'renew', 'release', 'away', 'back'),
    pauseMs: fc.nat({ max: 60 }),
  });
  const names = ['a', 'b', 'c'];
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 40 }), async (events) => {
      const { clock, keeper, fleet } = fleetOf(names);
      const keepers = names.map((name) => keeper(name));
      const check = (): void => {
        for (const host of names) {
          const holding = keepers.filter((each) => each.holds(host));
          assert.ok(holding.length <= 1, `host ${host} is held by ${holding.length}`);
        }
      };
      for (const { who, what, pauseMs } of events) {
        clock.nowMs += pauseMs;
        if (what === 'renew') await keepers[who]!.renew(TTL_MS);
        else if (what === 'release') await keepers[who]!.release();
        else fleet.host(names[who]!).isUp = what === 'back';
        check();
      }
      for (const name of names) fleet.host(name).isUp = true;
      for (let i = 0; i < 12; i++) {
        clock.nowMs += TTL_MS / 6;
        for (const each of keepers) await each.renew(TTL_MS);
        check();
      }
      const acting = keepers.filter((each) => each.obstacle === null);
      assert.equal(acting.length, 1, `${acting.length} act`);
      for (const host of names) assert.ok(acting[0]!.holds(host));
    }),
    { numRuns: 200 },
  );
});
