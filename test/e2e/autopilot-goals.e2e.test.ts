/** The autopilot's other goals on real guests, each time ordered by the host that does not have the VM: over mutual TLS. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { logOf, quick, untilSaid } from '../support/autopilot-scene.ts';
import type { LabGuest } from '../support/lab-guest.ts';
import { useLab } from '../support/lab-hosts.ts';

/** More cores than there are: guests that do little are far below every mark of the CPU, so memory decides. */
const config = (obey: string) => ({ capacity: { cores: 8, memory: '1GiB' }, autopilot: { ...quick, obey: [obey] } });
const lab = useLab({ config: { a: config('b'), b: config('a') } });
const guests = new Map<string, LabGuest>();
const QUIET_MS = 5_000;
/** What booting took is forgotten by the averages after some of their half-lives. */
const SETTLE_MS = 4 * quick.halfLifeMs;

const here = async (): Promise<string[][]> => [await lab.vmStates('a'), await lab.vmStates('b')];

async function assertRest(expected: readonly (readonly string[])[], host: 'a' | 'b'): Promise<void> {
  await sleep(QUIET_MS);
  assert.deepEqual(await here(), expected, 'nothing goes back and forth');
  const moves = (await logOf(lab, host)).filter(({ kind }) => kind === 'move');
  assert.equal(moves.length, 1, `one move was ordered by ${host}`);
  assert.deepEqual([moves[0]?.move?.outcome, moves[0]?.move?.error], ['completed', null]);
  await lab.ok(host, 'autopilot', 'off');
}

test('a guest on each host, the one at a works more', async () => {
  const [steady, lone] = await Promise.all([
    lab.startGuest('a', { name: 'steady', memory: '192M', writer: { set: '16M', rate: '16M' } }),
    lab.startGuest('b', { name: 'lone', memory: '160M', writer: { set: '4M', rate: '100K' } }),
  ]);
  guests.set('steady', steady).set('lone', lone);
  await sleep(SETTLE_MS);
});

test('consolidate: the host that does less is emptied, by the order of the other one', async (t) => {
  await lab.ok('a', 'autopilot', 'on', '--goal', 'consolidate');
  const move = await untilSaid(lab, 'a', /^lone moves from b to a/);
  t.diagnostic(move.sentence);
  const { sentence } = await untilSaid(lab, 'a', /^lone has moved from b to a in /, { after: move.sequence });
  t.diagnostic(sentence);
  guests.get('lone')!.follow(lab.consoleFile('a', 'lone'));
  await assertRest([['lone running', 'steady running'], []], 'a');
});

test('balance: memory is spread again, by the order of the host that has none in use', async (t) => {
  await lab.ok('b', 'autopilot', 'on', '--goal', 'balance');
  const move = await untilSaid(lab, 'b', /^\w+ moves from a to b, because a has been above .* of its memory/);
  t.diagnostic(move.sentence);
  const vm = move.move?.vm ?? '';
  await untilSaid(lab, 'b', /has moved from a to b in /, { after: move.sequence });
  guests.get(vm)?.follow(lab.consoleFile('b', vm));
  const stays = vm === 'lone' ? 'steady' : 'lone';
  await assertRest([[`${stays} running`], [`${vm} running`]], 'b');
  for (const guest of guests.values()) {
    await guest.moreWriterLines(3);
    guest.assertSound();
  }
});
