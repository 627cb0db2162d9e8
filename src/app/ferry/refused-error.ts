/** The destination cannot take a VM: all the reasons at once. */
import { AppError } from '../../core/base/errors.ts';
import type { Problem } from '../../core/model/vm.ts';

export class RefusedError extends AppError<'RESERVATION_REFUSED'> {
  readonly problems: readonly Problem[];

  constructor(message: string, problems: readonly Problem[]) {
    super('RESERVATION_REFUSED', message, { problems: problems.map((problem) => problem.message) });
    this.problems = problems;
  }
}
