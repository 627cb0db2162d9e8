import { AppError } from '../../core/base/errors.ts';

/** `BENCH_CHOICE`: a name or number that a person wrote. `BENCH_OUT`: what --out already holds. */
export class BenchError extends AppError<'BENCH_CHOICE' | 'BENCH_OUT' | 'BENCH_SETUP' | 'BENCH_FAILED'> {}
