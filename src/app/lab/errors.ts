import { AppError } from '../../core/base/errors.ts';

export type LabErrorCode =
  | 'LAB_NAME'
  | 'LAB_OPTION'
  | 'LAB_RIGHTS'
  | 'LAB_COMMAND'
  | 'LAB_NOT_UP'
  | 'LAB_UNKNOWN_HOST'
  | 'LAB_AGENT_FAILED'
  | 'LAB_LEFTOVER';

export class LabError extends AppError<LabErrorCode> {}
