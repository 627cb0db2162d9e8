/** What the autopilot's own files can go wrong with; what it answers to requests is ApiError, what is set wrong PolicyError. */
import { AppError } from '../../core/base/errors.ts';

export class AutopilotError extends AppError<'LOG_UNREADABLE'> {}
