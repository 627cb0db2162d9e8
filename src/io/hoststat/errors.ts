import { AppError } from '../../core/base/errors.ts';

/** `CPU_GROUP`: processes cannot be capped on this host. `CPU_AFFINITY`: they cannot be confined to processors. */
export class HostStatError extends AppError<'CPU_GROUP' | 'CPU_AFFINITY'> {}
