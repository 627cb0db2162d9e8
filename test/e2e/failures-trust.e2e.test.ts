/** A host accepts migrations only from names that it trusts, with valid certificates of its own authority. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createTestAuthority } from '../support/certificates.ts';
import type { TestIdentity } from '../support/certificates.ts';
import { assertNoStackTrace, useScene } from '../support/failure-scene.ts';
import type { FailureScene } from '../support/failure-scene.ts';
import type { HostName } from '../support/lab-hosts.ts';

const VALID_FOR_MS = 8000;

describe('a host that is not trusted', () => {
  const scene = useScene();

  test('a certificate of another authority is refused, and both sides say so', async () => {
    await scene.ready();
    const stranger = await createTestAuthority();
    await scene.reconfigure(scene.here, tlsOf(scene, scene.here, await stranger.issue(scene.here)));
    await assertRefused(scene, /authority/, /certificate/i);
  });

  test('a good certificate with a name that is not trusted is refused, and both sides say so', async () => {
    const authority = await createTestAuthority();
    for (const host of ['a', 'b'] as const) {
      await scene.reconfigure(host, tlsOf(scene, host, await authority.issue(host)));
    }
    await scene.reconfigure(scene.there, { trust: [] });
    await scene.ready();
    await assertRefused(scene, /does not trust.*add [ab] to "trust"/, /does not trust/);
    await scene.reconfigure(scene.there, { trust: [scene.here] });
    await scene.ready();
    await scene.assertMovesNow();
  });

  test('a certificate that expires while its agent runs is refused, and an agent does not start with it', async () => {
    const authority = await createTestAuthority();
    const expiresAtMs = Date.now() + VALID_FOR_MS;
    const shortLived = await authority.issue(scene.here, VALID_FOR_MS);
    await scene.reconfigure(scene.here, tlsOf(scene, scene.here, shortLived));
    await scene.reconfigure(scene.there, tlsOf(scene, scene.there, await authority.issue(scene.there)));
    await scene.ready();
    await sleep(Math.max(0, expiresAtMs + 1100 - Date.now()));
    await assertRefused(scene, /expired/, /expired/);
    await assert.rejects(scene.restartAgent('here'), /expired/);
    await scene.reconfigure(scene.here, tlsOf(scene, scene.here, await authority.issue(scene.here)));
    await scene.ready();
    await scene.assertMovesNow();
  });
});

async function assertRefused(scene: FailureScene, here: RegExp, there: RegExp): Promise<void> {
  const { lab, guest } = scene;
  const logged = lab.agentLog(scene.there).length;
  const result = await lab.cli(scene.here, 'migrate', guest.name, scene.there);
  assert.equal(result.code, 6, result.stderr);
  assert.match(result.stderr, here);
  assertNoStackTrace(result);
  const refusals = lab
    .agentLog(scene.there)
    .slice(logged)
    .split('\n')
    .filter((line) => line.includes('"link.refused"'));
  assert.match(refusals.join('\n'), there);
  await scene.assertStayed();
}

function tlsOf({ lab }: FailureScene, host: HostName, identity: TestIdentity): object {
  const folder = join(lab.folder, 'certificates');
  mkdirSync(folder, { recursive: true });
  const write = (kind: string, pem: string): string => {
    const file = join(folder, `${host}-${kind}.pem`);
    writeFileSync(file, pem, { mode: 0o600 });
    return file;
  };
  const { certPem, keyPem, caPem } = identity;
  return { tls: { cert: write('cert', certPem), key: write('key', keyPem), ca: write('ca', caPem) } };
}
