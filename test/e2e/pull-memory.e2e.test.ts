/** What a guest's memory is made of, and the pull phase: memfd shared and private, and a file, which is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { VmSpecInput } from '../../guests/spec.ts';
import { guestSpec } from '../../guests/spec.ts';
import { assertReport } from '../support/report-checks.ts';
import { useLab } from '../support/lab-hosts.ts';

const lab = useLab();
/** The writer checks each of its pages once in ten seconds. */
const ALL_CHECKED_LINES = 110;

/** Main memory in a backend of this kind; `{run}` is the folder of the machine. */
function backend(kind: string): Partial<VmSpecInput> {
  return { qemuArguments: ['-object', `${kind},id=pc.ram,size=256M`, '-machine', 'memory-backend=pc.ram'] };
}

function spec(name: string, change: Partial<VmSpecInput>): VmSpecInput {
  return { ...guestSpec({ name, memory: '256M', writer: { set: '48M', rate: '20M' } }), ...change };
}

const memories = {
  'shared memory': { sharedMemory: true },
  'a private memfd': backend('memory-backend-memfd,share=off'),
} satisfies Record<string, Partial<VmSpecInput>>;
const strategies = { postcopy: ['--strategy', 'postcopy'], dsm: ['--strategy', 'dsm', '--pull'] };

for (const [memory, change] of Object.entries(memories)) {
  for (const [strategy, options] of Object.entries(strategies)) {
    test(`${memory}: a guest under load moves by ${strategy}, and back, and misses nothing`, async (t) => {
      const name = `${strategy}${memory.length}`;
      const guest = await lab.startSpec('a', spec(name, change));
      await guest.moreWriterLines(5);
      for (const [from, to] of [
        ['a', 'b'],
        ['b', 'a'],
      ] as const) {
        const { report } = await lab.migrate(guest, from, to, ...options, '--verify');
        t.diagnostic(`downtime ${report.downtimeMs?.toFixed(0)} ms, ${JSON.stringify([report.pages, report.pull])}`);
        assertReport(report);
        assert.ok((report.pages.pulled ?? 0) > 0 && (report.pull?.faults ?? 0) > 0);
      }
      await guest.moreWriterLines(ALL_CHECKED_LINES);
      guest.assertSound();
      await lab.ok('a', 'vm', 'stop', name, '--force');
    });
  }
}

test('memory in a file is refused with what can be done, and moves without a pull phase', async () => {
  const change = backend('memory-backend-file,share=on,mem-path={run}/memory');
  const guest = await lab.startSpec('a', spec('file', change));
  await guest.moreWriterLines(5);
  for (const options of Object.values(strategies)) {
    const error = await lab.refused(4, 'a', 'migrate', 'file', 'b', ...options);
    const said = (error.problems ?? []).map(({ message }) => message).join();
    assert.match(said, /lies in a file \(pc\.ram\), which cannot be pulled: leave the pull phase out with --no-pull/);
  }
  assert.deepEqual([await lab.vmStates('a'), await lab.vmStates('b')], [['file running'], []]);
  const { report } = await lab.migrate(guest, 'a', 'b', '--strategy', 'dsm', '--no-pull', '--verify');
  assert.equal(report.pages.pulled, null);
  await guest.moreWriterLines(5);
  guest.assertSound();
});
