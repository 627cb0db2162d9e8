/** Reads a VM's spec from YAML or JSON; relative paths in it are relative to the file. */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { describeIssues } from '../../core/api/issues.ts';
import { vmSpecSchema } from '../../core/model/vm.ts';
import type { VmSpec } from '../../core/model/vm.ts';
import { UsageError } from './errors.ts';

/** Throws UsageError SPEC_UNREADABLE, SPEC_INVALID with every field that is wrong. */
export function readSpecFile(file: string): VmSpec {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new UsageError('SPEC_UNREADABLE', `Cannot read the spec ${file}`, { file }, { cause });
  }
  let value: unknown;
  try {
    value = parseYaml(text);
  } catch (cause) {
    throw new UsageError('SPEC_INVALID', `The spec ${file} is neither YAML nor JSON`, { file }, { cause });
  }
  const parsed = vmSpecSchema.safeParse(value);
  if (!parsed.success) {
    const issues = describeIssues(parsed.error, 'the spec');
    throw new UsageError('SPEC_INVALID', `The spec ${file} is invalid: ${issues.join('; ')}`, { file, issues });
  }
  return withAbsolutePaths(parsed.data, dirname(resolve(file)));
}

function withAbsolutePaths(spec: VmSpec, folder: string): VmSpec {
  const at = (path: string): string =>
    path.startsWith('{run}') || /^[a-z]+:\/\//.test(path) ? path : resolve(folder, path);
  const { kernel, initrd, firmware } = spec;
  return {
    ...spec,
    ...(kernel !== undefined && { kernel: at(kernel) }),
    ...(initrd !== undefined && { initrd: at(initrd) }),
    ...(firmware !== undefined && { firmware: at(firmware) }),
    disks: spec.disks.map((disk) => ({ ...disk, source: at(disk.source) })),
  };
}
