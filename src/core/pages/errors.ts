import { AppError } from '../base/errors.ts';

/** What the peer or QEMU's stream said about pages and cannot be true, or is beyond our limits. */
export class PagesError extends AppError<'PAGES_OUT_OF_RANGE' | 'PAGES_UNKNOWN_BLOCK' | 'PAGES_TOO_MANY'> {}
