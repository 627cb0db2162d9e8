/** What the figures of a bench depend on, as people want to read it beside them. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { probeKvm, probeQemu } from '../../io/qemu/probe.ts';
import { formatVersion } from '../../io/qemu/version.ts';
import { defaultQemu } from '../lab/host-agent.ts';
import { projectFolder } from '../lab/plan.ts';
import type { Machine, Versions } from './results.ts';

/** Throws QemuProcessError where there is no QEMU. Takes some hundred milliseconds, several seconds where KVM is there and hangs. */
export async function examineMachine(): Promise<{ machine: Machine; versions: Versions }> {
  const binary = defaultQemu();
  const { version } = await probeQemu(binary);
  const { works } = await probeKvm(binary);
  return {
    machine: {
      processor: cpus()[0]?.model.trim() ?? 'unknown',
      processors: availableParallelism(),
      memoryBytes: totalmem(),
      kernel: `Linux ${release()}`,
      system: /^PRETTY_NAME="(.*)"$/m.exec(readText('/etc/os-release'))?.[1] ?? 'unknown',
      accelerator: works ? 'kvm' : 'tcg',
    },
    versions: { vmferry: ownVersion(), qemu: formatVersion(version), node: process.versions.node },
  };
}

/** With the commit, where this checkout has one; "+" stands for changes that are not in it. */
function ownVersion(): string {
  const { version } = JSON.parse(readText(join(projectFolder, 'package.json'))) as { version: string };
  try {
    const git = ['-C', projectFolder, 'describe', '--always', '--dirty=+', '--exclude=*'];
    return `${version} (${execFileSync('git', git, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()})`;
  } catch {
    return version;
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
