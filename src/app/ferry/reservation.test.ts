import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ControlConnection } from '../../io/link/control-connection.ts';
import { LinkError } from '../../io/link/errors.ts';
import { askLoad } from './reservation.ts';

const never = new AbortController().signal;

/** A peer with these features that answers with `answer`, or not. */
function peer(features: readonly string[], answer: object | null): ControlConnection {
  const connection = {
    peerHello: { features },
    send: async () => await Promise.resolve(),
    expect: async () =>
      answer === null
        ? await Promise.reject(new LinkError('LINK_TIMEOUT', 'No answer'))
        : await Promise.resolve({ message: { type: 'loadResult', ...answer } }),
  };
  return connection as unknown as ControlConnection;
}

test('a peer says how busy it is; an older one is not asked, and one that does not answer holds nothing up', async () => {
  const answer = { processors: 8, idle: 0.25 };
  assert.deepEqual(await askLoad(peer(['load'], answer), never), answer);
  assert.equal(await askLoad(peer([], answer), never), null);
  assert.equal(await askLoad(peer(['load'], null), never), null);
  await assert.rejects(askLoad(peer(['load'], null), AbortSignal.abort()), { name: 'AbortError' });
});
