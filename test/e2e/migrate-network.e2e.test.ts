/** A guest on a bridge moves, and a TCP connection into it lives on; its heartbeat shows the outage that others see. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { useLab } from '../support/lab-hosts.ts';
import type { LabHosts } from '../support/lab-hosts.ts';
import type { WitnessReport } from '../support/guest-witness.ts';

const lab = useLab();
const ECHO_PORT = 7000;
const HEARTBEAT_PORT = 9000;
/** The downtime target is 0.3 s; two busy cores for guest, QEMUs, agents and witness are not a quiet machine. */
const OUTAGE_MS_MAX = 4000;

async function startWitness(guest: string): Promise<{ readonly finish: () => Promise<WitnessReport> }> {
  const program = join(import.meta.dirname, '../support/guest-witness.ts');
  const argv = [process.execPath, program, guest, String(ECHO_PORT), String(HEARTBEAT_PORT)];
  const { child, done } = lab.spawnAt('a', ...argv);
  await Promise.race([
    once(child.stderr!, 'data'),
    done.then(({ stderr }) => assert.fail(`the witness ended: ${stderr}`)),
  ]);
  return {
    finish: async () => {
      child.stdin!.end();
      return (await done).json as WitnessReport;
    },
  };
}

async function startNetworkGuest(hosts: LabHosts) {
  const host = await hosts.address('a');
  const address = host.replace(/\d+$/, '10');
  const guest = await hosts.startGuest('a', {
    name: 'net',
    memory: '256M',
    writer: { set: '16M', rate: '4M' },
    networks: [{ type: 'tap', bridge: 'br0' }],
    address: `${address}/24`,
    tcpPort: ECHO_PORT,
    heartbeat: `${host}:${HEARTBEAT_PORT}`,
  });
  return { guest, address };
}

test('a TCP connection into the guest lives on, there and back, and not a byte is lost', async (t) => {
  const { guest, address } = await startNetworkGuest(lab);
  for (const [from, to] of [
    ['a', 'b'],
    ['b', 'a'],
  ] as const) {
    const witness = await startWitness(address);
    await guest.moreWriterLines(10);
    const { report } = await lab.migrate(guest, from, to, '--verify');
    await guest.moreWriterLines(30);
    const { tcp, heartbeat } = await witness.finish();
    const downtimeMs = report.downtimeMs ?? 0;
    const agoMs = heartbeat.longestGapAtMs - Date.parse(report.startedAt);
    t.diagnostic(`${from} to ${to}: downtime ${downtimeMs.toFixed(0)} ms, ${JSON.stringify({ tcp, heartbeat })}`);

    assert.equal(tcp.ended, null, 'the connection is open');
    assert.equal(tcp.wrongBytes, 0);
    assert.equal(tcp.receivedBytes, tcp.sentBytes, 'every byte came back');
    assert.ok(tcp.sentBytes > 50_000, `${tcp.sentBytes} bytes`);

    assert.ok(heartbeat.packets > 200, `${heartbeat.packets} packets`);
    assert.equal(heartbeat.contradicted, 0, 'the guest ran twice from one point');
    assert.equal(heartbeat.repeated, 0, 'no packet was sent by both hosts');
    // Two processors and a shaped link: some packets overtake others, whoever moves the guest.
    assert.ok(heartbeat.overtaken < heartbeat.packets / 100, `${heartbeat.overtaken} packets were overtaken`);
    assert.ok(heartbeat.longestGapMs < OUTAGE_MS_MAX, `outage of ${heartbeat.longestGapMs} ms`);
    // What the report calls downtime is what an onlooker sees, or a little less: never more.
    assert.ok(heartbeat.longestGapMs > downtimeMs * 0.9, `${heartbeat.longestGapMs} ms, reported ${downtimeMs} ms`);
    const { preMigration, reservation, preCopy } = report.stagesMs;
    const stoppedAfterMs = preMigration + reservation + preCopy;
    assert.ok(
      Math.abs(agoMs - stoppedAfterMs) < 1000,
      `the gap began ${agoMs} ms, the stop was ${stoppedAfterMs} ms in`,
    );
  }
  guest.assertSound();
});
