import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ControlWireError } from './errors.ts';
import { isHostName, peerNameOf, type PeerCertificateFields } from './peer-name.ts';

const certificate = (CN: string | string[] | undefined, subjectaltname?: string): PeerCertificateFields => ({
  subject: { CN },
  subjectaltname,
});

test('host names are lower-case DNS names of at most 63 characters', () => {
  for (const name of ['a', 'alpha', 'host-1', 'rack1.example.org', '1a', 'x'.repeat(63)])
    assert.ok(isHostName(name), name);
  const bad = [
    '',
    'Alpha',
    '-a',
    'a-',
    'a..b',
    '.a',
    'a.',
    '10.0.0.1',
    'a.1',
    'a b',
    'a/b',
    '../x',
    'ä',
    'x'.repeat(64),
  ];
  for (const name of bad) assert.ok(!isHostName(name), name);
});

test('a host certificate has its name twice', () => {
  assert.equal(peerNameOf(certificate('alpha', 'DNS:alpha')), 'alpha');
  assert.equal(peerNameOf(certificate('alpha', 'IP Address:10.0.0.1, DNS:alpha'), 'alpha'), 'alpha');
});

test('anything else is not a host certificate', () => {
  const bad = [
    {},
    certificate(undefined, 'DNS:alpha'),
    certificate('alpha'),
    certificate('alpha', 'DNS:beta'),
    certificate('alpha', 'IP Address:alpha'),
    certificate(['alpha', 'beta'], 'DNS:alpha, DNS:beta'),
    certificate('Alpha', 'DNS:Alpha'),
    certificate('alpha', 'DNS:"x, DNS:alpha"'),
    certificate('*', 'DNS:*'),
  ];
  for (const fields of bad) {
    assert.throws(
      () => peerNameOf(fields),
      (error) => error instanceof ControlWireError && error.code === 'WIRE_PEER_NAME',
      JSON.stringify(fields),
    );
  }
});

test('the wrong host is named in the message', () => {
  assert.throws(() => peerNameOf(certificate('alpha', 'DNS:alpha'), 'beta'), /host alpha, expected beta/);
});
