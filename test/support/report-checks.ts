/** What holds for the report of every completed migration, whatever the guest: its fields, and numbers that add up. */
import assert from 'node:assert/strict';
import { stageNames } from '../../src/core/model/migration.ts';
import type { MigrationReport } from '../../src/core/model/migration.ts';

/** The documented fields, with `null` for a leaf. */
const documented = {
  ...{ id: null, vm: null, source: null, destination: null, strategy: null },
  options: {
    ...{ prune: null, compress: null, delta: null, lanes: null, maxBandwidth: null },
    ...{ downtimeTargetMs: null, verify: null, pull: null },
  },
  ...{ outcome: null, reason: null, totalMs: null, downtimeMs: null },
  stagesMs: {
    ...{ preMigration: null, reservation: null, preCopy: null, stopAndCopy: null, commitment: null, activation: null },
  },
  rounds: null,
  pages: {
    total: null,
    sent: null,
    resent: null,
    zero: null,
    pruned: null,
    delta: null,
    unchanged: null,
    pulled: null,
  },
  bytes: { wire: null, resent: null, raw: null },
  cpuMs: { source: { agent: null, qemu: null }, destination: { agent: null, qemu: null } },
  ...{ verified: null, switchover: null, pull: null, predicted: null },
};

export function assertReport(report: MigrationReport): void {
  assertFields(report, documented, 'report');
  const { stagesMs, rounds, pages, bytes, cpuMs, downtimeMs } = report;
  const stages = stageNames.map((name) => stagesMs[name]);
  assert.ok(
    stages.every((ms) => ms > 0),
    `every stage takes time: ${JSON.stringify(stagesMs)}`,
  );
  assertNear(sum(stages), report.totalMs, 0.01, 'the stages add up to the total');
  const stoppedMs = stagesMs.stopAndCopy + stagesMs.commitment + stagesMs.activation;
  assert.ok(downtimeMs !== null && downtimeMs > 0, 'the downtime is known');
  // Two clocks meet in it: the way there is half a round trip as measured before, which a full link stretches.
  assert.ok(
    downtimeMs <= stoppedMs + 100,
    `downtime ${downtimeMs} ms is within the last three stages, ${stoppedMs} ms`,
  );
  assert.ok(downtimeMs >= stagesMs.stopAndCopy + stagesMs.commitment - 1, `downtime ${downtimeMs} ms, ${stoppedMs} ms`);

  assert.ok(rounds.length > 0, 'there are rounds');
  assert.deepEqual(
    rounds.map(({ round }) => round),
    rounds.map((_, index) => index + 1),
  );
  assert.equal(sum(rounds.map(({ wireBytes }) => wireBytes)), bytes.wire, 'the bytes of the rounds add up');
  assert.equal(sum(rounds.map(({ pagesSent }) => pagesSent)), pages.sent, 'the pages of the rounds add up');
  const roundsMs = sum(rounds.filter(({ stage }) => stage !== 'activation').map(({ ms }) => ms));
  // The first round's clock starts with the data plane, inside the reservation; verifying and loading come after the last.
  const longestMs = stagesMs.reservation + stagesMs.preCopy + stagesMs.stopAndCopy;
  assert.ok(
    roundsMs >= stagesMs.preCopy - 1 && roundsMs <= longestMs + 1,
    `rounds ${roundsMs} ms, at most ${longestMs}`,
  );

  assert.ok(pages.resent <= pages.sent && pages.zero <= pages.total, JSON.stringify(pages));
  assert.ok((pages.delta ?? 0) <= pages.sent, JSON.stringify(pages));
  assert.equal(bytes.raw, pages.sent * 4096, 'raw bytes are those of the pages sent');
  assertResent(report);
  assert.ok(bytes.wire > 0 && bytes.wire <= bytes.raw * 1.02 + 2 ** 20, `${bytes.wire} bytes for ${bytes.raw}`);
  for (const side of [cpuMs.source, cpuMs.destination]) {
    assert.ok(side.agent !== null && side.agent > 0 && side.qemu !== null && side.qemu >= 0, JSON.stringify(cpuMs));
  }
}

/** Pages found unchanged cost no bytes, or those of a frame that says no more than that. */
function assertResent({ bytes, pages }: MigrationReport): void {
  const said = JSON.stringify({ bytes, pages });
  assert.ok(bytes.resent <= bytes.wire, said);
  if (pages.resent > 0) assert.ok(bytes.resent > 0, said);
  if (bytes.resent > 0) assert.ok(pages.resent + (pages.unchanged ?? 0) > 0, said);
}

function assertFields(value: object, fields: object, path: string): void {
  for (const [name, below] of Object.entries(fields)) {
    assert.ok(name in value, `${path}.${name} is there`);
    const inner: unknown = (value as Record<string, unknown>)[name];
    if (below !== null) assertFields(inner as object, below as object, `${path}.${name}`);
  }
}

function assertNear(actual: number, expected: number, tolerance: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${what}: ${actual} and ${expected}`);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
