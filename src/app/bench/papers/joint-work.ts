/**
 * How much several instances of one program did together. Pure.
 *
 * A guest with two virtual processors runs a program of one thread twice. Both say lines of the same name, once a second,
 * numbered alike; whose line is whose does not matter for the sum of those of one number.
 */
import { parseWorkLines } from '../../../../guests/spec.ts';

export type JointPoint = {
  readonly sequence: number;
  /** The mean of the instances' lines. */
  readonly guestMs: number;
  /** The sum. */
  readonly work: number;
  readonly failures: number;
};

/** In the order of their numbers; those that all instances have reached. */
export function jointPoints(text: string, program: string, instances: number): JointPoint[] {
  const lines = parseWorkLines(text).filter(({ name }) => name === program);
  return [...Map.groupBy(lines, ({ sequence }) => sequence)]
    .filter(([, group]) => group.length === instances)
    .map(([sequence, group]) => ({
      sequence,
      guestMs: group.reduce((sum, { guestMs }) => sum + guestMs, 0) / instances,
      work: group.reduce((sum, { work }) => sum + work, 0),
      failures: group.reduce((sum, { failures }) => sum + failures, 0),
    }))
    .toSorted((one, other) => one.sequence - other.sequence);
}

/** Units per second of the guest's own clock. */
export function rateBetween(from: JointPoint, to: JointPoint): number {
  return ((to.work - from.work) / (to.guestMs - from.guestMs)) * 1000;
}
