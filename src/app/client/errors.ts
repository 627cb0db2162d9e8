/** What can go wrong between a client and an agent. */
import { AppError } from '../../core/base/errors.ts';
import type { ErrorBody } from '../../core/api/errors.ts';
import type { Problem } from '../../core/model/vm.ts';

export class ClientError extends AppError<
  | 'AGENT_UNREACHABLE' // nothing listens there
  | 'AGENT_FORBIDDEN' // the socket belongs to another user
  | 'AGENT_LOST' // the connection ended before the answer was complete
  | 'AGENT_SILENT' // no answer in time
  | 'AGENT_ANSWER' // an answer that this client does not understand
  | 'CLIENT_CANCELLED' // the caller's AbortSignal
> {}

/** The agent answered with an error: `code`, message and fields are the agent's own. */
export class RefusalError extends AppError {
  readonly status: number;
  readonly problems: readonly Problem[];

  constructor(status: number, body: ErrorBody) {
    super(body.code, body.message, body.fields);
    this.status = status;
    this.problems = body.problems;
  }
}
