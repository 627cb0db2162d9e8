/** Schema complaints as people read them: one line per field, the field first. */
import type { z } from 'zod';

/** "disks[0].source: must not contain a comma", one per issue. `root` names the whole where an issue has no path. */
export function describeIssues(error: z.ZodError, root = 'request'): string[] {
  return error.issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => `${pathText([...issue.path, key], root)}: is not a known field`);
    }
    return [`${pathText(issue.path, root)}: ${messageOf(issue)}`];
  });
}

function messageOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type' && issue.input === undefined && issue.message.includes('received undefined')) {
    return 'is missing';
  }
  return issue.message.replace(/^Invalid input: /, '').replace(/^Invalid option: /, '');
}

function pathText(path: readonly PropertyKey[], root: string): string {
  if (path.length === 0) return root;
  return path
    .map((part, i) => (typeof part === 'number' ? `[${part}]` : `${i === 0 ? '' : '.'}${String(part)}`))
    .join('');
}
