import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Reservations } from './reservations.ts';

const GIB = 1024 ** 3;

function ledger(used = { memoryBytes: 0, vcpus: 0 }) {
  const clock = { nowMs: 0 };
  const made = new Reservations(
    { memoryBytes: 8 * GIB, vcpus: 8 },
    () => used,
    () => clock.nowMs,
  );
  return { made, clock, used };
}
const need = (name: string, gib = 1, vcpus = 1) => ({ name, memoryBytes: gib * GIB, vcpus });
const codes = (problems: readonly { code: string }[]) => problems.map(({ code }) => code);

test('name, memory and vCPUs are refused together when all are short', () => {
  const { made } = ledger({ memoryBytes: 7 * GIB, vcpus: 7 });
  made.hold('m1', need('web'), 1000);
  assert.deepEqual(codes(made.problems(need('web', 2, 2), null)), ['NAME_TAKEN', 'MEMORY_SHORT', 'VCPUS_SHORT']);
  assert.match(
    made.problems(need('db', 2), null)[0]?.message ?? '',
    /needs 2\.00 GiB of memory, the host has 0 B free/,
  );
});

test('a lease runs out, unless its QEMU was started', () => {
  const { made, clock } = ledger();
  made.hold('m1', need('web'), 1000);
  made.hold('m2', need('db'), 1000);
  assert.equal(made.pin('m2'), true);
  clock.nowMs = 1000;
  assert.equal(made.has('m1'), false);
  assert.equal(made.pin('m1'), false, 'too late');
  assert.equal(made.has('m2'), true);
  assert.deepEqual(made.reserved(), { memoryBytes: 0, vcpus: 0 }, 'a started machine counts as used, not as reserved');
});

test('release is idempotent and a repeated reservation of one migration does not count twice', () => {
  const { made } = ledger();
  made.hold('m1', need('web', 8, 8), 1000);
  assert.deepEqual(made.problems(need('web', 8, 8), 'm1'), []);
  made.hold('m1', need('web', 8, 8), 1000);
  made.release('m1');
  made.release('m1');
  assert.deepEqual(made.reserved(), { memoryBytes: 0, vcpus: 0 });
});

test('whatever is asked for in whatever order, promises never exceed the capacity', () => {
  const step = fc.record({
    id: fc.nat(5),
    gib: fc.nat(5),
    vcpus: fc.nat(5),
    waitMs: fc.nat(600),
    release: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { made, clock } = ledger({ memoryBytes: 2 * GIB, vcpus: 2 });
      for (const { id, gib, vcpus, waitMs, release } of steps) {
        clock.nowMs += waitMs;
        if (release) made.release(`m${id}`);
        const wanted = need(`vm${id}`, gib, vcpus);
        if (made.problems(wanted, `m${id}`).length === 0) made.hold(`m${id}`, wanted, 1000);
        const { memoryBytes, vcpus: held } = made.reserved();
        assert.ok(memoryBytes + 2 * GIB <= 8 * GIB && held + 2 <= 8);
      }
    }),
  );
});
