/** Migrations with a pull phase, QEMU 10 to 10: the guest runs at the destination before its pages are there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertReport } from '../support/report-checks.ts';
import { useLab } from '../support/lab-hosts.ts';

const lab = useLab();

for (const [name, options] of [
  ['postcopy', ['--strategy', 'postcopy']],
  ['dsm', ['--strategy', 'dsm', '--pull']],
] as const) {
  test(`a guest under load moves by ${name} and finds every page as it left it`, async (t) => {
    const guest = await lab.startGuest('a', { name, memory: '256M', writer: { set: '48M', rate: '20M' } });
    const before = (await guest.moreWriterLines(5)).at(-1)?.sequence ?? 0;
    const { report } = await lab.migrate(guest, 'a', 'b', ...options, '--verify');
    t.diagnostic(JSON.stringify(report));
    // The writer checks all of its pages once in ten seconds.
    const after = (await guest.moreWriterLines(110)).at(-1)?.sequence ?? 0;
    assertReport(report);
    guest.assertSound();
    assert.ok(after > before);
    assert.equal(report.strategy, name);
    assert.equal(report.options.pull, true);
    assert.equal(report.verified, true, 'all pages but those that are pulled');
    assert.ok(report.pull !== null && report.pages.pulled !== null && report.pages.pulled > 0);
    assert.ok(report.pull.faults > 0, 'the guest touched pages before they came');
    assert.ok(report.pull.medianMs !== null && report.pull.p99Ms !== null);
    assert.deepEqual(await lab.vmStates('a'), []);
    assert.deepEqual(await lab.vmStates('b'), [`${name} running`]);
    await lab.ok('b', 'vm', 'stop', name, '--force');
  });
}
