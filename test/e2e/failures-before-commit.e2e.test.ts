/**
 * Failures before the commit: the guest goes on at the source, nothing of it stays at the destination, the message says
 * what happened and where the guest is, and a later migration of the same machine succeeds.
 */
import { execFileSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { labCutLink } from '../../src/app/lab/lab.ts';
import { useScene } from '../support/failure-scene.ts';
import type { Attempt, FailureScene } from '../support/failure-scene.ts';
import { askQemu, qemuPids } from '../support/outside-view.ts';

type Failure = {
  readonly name: string;
  readonly options?: readonly string[];
  /** Makes it fail. */
  readonly strike: (scene: FailureScene, attempt: Attempt) => Promise<void> | void;
  readonly code: number;
  readonly message: RegExp;
  /** What has to be repaired before the guest can be looked at. */
  readonly repair?: (scene: FailureScene) => Promise<void>;
  readonly movesAfterwards?: boolean;
  /** Also while the guest is stopped and its last pages are on their way. */
  readonly inStopAndCopy?: boolean;
};

const stall = ['--stall-timeout', '2s'];

const failures: readonly Failure[] = [
  {
    name: "the destination's agent is killed",
    strike: (scene) => scene.signalAgent('there', 'SIGKILL'),
    ...{ code: 6, message: /could not be moved: .*(closed the connection|its agent ended)/s },
    inStopAndCopy: true,
    repair: async (scene) => await scene.restartAgent('there'),
    movesAfterwards: true,
  },
  {
    name: "the source's agent is killed",
    strike: (scene) => scene.signalAgent('here', 'SIGKILL'),
    ...{ code: 8, message: /The agent was lost while VM "g\d+" was being moved .*vmferry show/s },
    inStopAndCopy: true,
    repair: async (scene) => await scene.restartAgent('here'),
    movesAfterwards: true,
  },
  {
    name: "the destination's QEMU is killed",
    strike: (scene) => killQemuThere(scene),
    ...{ code: 6, message: /could not be moved: .*QEMU/s },
    inStopAndCopy: true,
  },
  {
    name: "the destination's agent is stopped in good order",
    strike: (scene) => scene.signalAgent('there', 'SIGTERM'),
    ...{ code: 6, message: /could not be moved: The agent of the destination stops/ },
    repair: async (scene) => await scene.restartAgent('there'),
  },
  {
    name: "the source's agent is stopped in good order",
    strike: (scene) => scene.signalAgent('here', 'SIGTERM'),
    ...{ code: 5, message: /was not moved: The agent of the source was stopped/ },
    inStopAndCopy: true,
    repair: async (scene) => await scene.restartAgent('here'),
  },
  {
    name: 'the link is cut with a reset',
    strike: (scene) => resetConnections(scene),
    ...{ code: 6, message: /could not be moved: .*connection/s },
    movesAfterwards: true,
  },
  {
    name: 'the link is silent for longer than the stall time-out',
    options: stall,
    strike: async (scene) => await labCutLink(true, scene.lab.name),
    ...{ code: 6, message: /could not be moved: .*for \d+ ms/s },
    inStopAndCopy: true,
    repair: async (scene) => await labCutLink(false, scene.lab.name),
    movesAfterwards: true,
  },
  {
    name: 'a person cancels it',
    strike: async (scene) => await cancel(scene),
    ...{ code: 5, message: /was not moved: A person asked for the abort/ },
    inStopAndCopy: true,
    movesAfterwards: true,
  },
  {
    name: 'a person presses Ctrl-C',
    strike: (_scene, attempt) => void attempt.child.kill('SIGINT'),
    ...{ code: 130, message: /Asked for an abort.*was not moved/s },
  },
];

/** Failures of the feed, which exists only while the source's QEMU can be talked to. */
const preCopyOnly: readonly Failure[] = [
  {
    name: "the migration of the source's QEMU is cancelled in its monitor",
    strike: async (scene) => void (await askQemu(scene.lab, scene.here, scene.guest.name, 'migrate_cancel')),
    ...{ code: 6, message: /could not be moved: .*(stream|feed|QEMU)/is },
    movesAfterwards: true,
  },
];

/** While it is stopped the guest says nothing; the longest it may take is the stall time-out and the resumption. */
describe('a failure during stop-and-copy', () => {
  const scene = useScene();

  for (const failure of failures.filter(({ inStopAndCopy }) => inStopAndCopy)) {
    test(`${failure.name}: the guest goes on at the source`, async () => {
      await scene.ready();
      const attempt = scene.attempt(...(failure.options ?? []));
      await scene.freezeInStopAndCopy(attempt);
      await failure.strike(scene, attempt);
      // A dead agent does not mind; a frozen one goes on and has to clear away.
      scene.signalIfThere('SIGCONT');
      await check(scene, attempt, failure);
    });
  }
});

async function check(scene: FailureScene, attempt: Attempt, failure: Failure): Promise<void> {
  const result = await attempt.done;
  scene.assertSaid(result, failure.code, failure.message);
  await failure.repair?.(scene);
  await scene.assertStayed();
  if (failure.movesAfterwards === true) await scene.assertMovesNow();
}

describe('a failure during pre-copy', () => {
  const scene = useScene();

  for (const failure of [...failures, ...preCopyOnly]) {
    test(`${failure.name}: the guest goes on at the source`, async () => {
      await scene.ready();
      const attempt = scene.attempt(...(failure.options ?? []));
      await attempt.preCopy();
      await failure.strike(scene, attempt);
      await check(scene, attempt, failure);
    });
  }
});

function killQemuThere({ lab, there }: FailureScene): void {
  for (const pid of qemuPids(lab, there)) process.kill(pid, 'SIGKILL');
}

/** Both ends of every TCP connection between the hosts get a reset. */
function resetConnections({ lab, here }: FailureScene): void {
  execFileSync('ip', ['netns', 'exec', `vmferry-${lab.name}-${here}`, 'ss', '-K', 'state', 'established'], {
    stdio: 'ignore',
  });
}

async function cancel({ lab, here }: FailureScene): Promise<void> {
  const { migrations } = await lab.ok<{ migrations: { id: string }[] }>(here, 'status');
  await lab.ok(here, 'cancel', migrations[0]?.id ?? 'none');
}
