/** What stops an agent from starting. Errors of requests are ApiError (core/api/errors.ts). */
import { AppError } from '../../core/base/errors.ts';

export class AgentError extends AppError<
  | 'CONFIG_UNREADABLE'
  | 'CONFIG_INVALID'
  | 'STATE_LOCKED' // another agent works on the same state folder
  | 'STATE_UNREADABLE'
  | 'SOCKET_IN_USE'
  | 'SOCKET_FAILED'
  | 'HISTORY_UNREADABLE'
> {}
