/** Mistakes of the person at the keyboard. */
import { AppError } from '../../core/base/errors.ts';

export class UsageError extends AppError<'USAGE_ARGUMENT' | 'SPEC_UNREADABLE' | 'SPEC_INVALID'> {}
