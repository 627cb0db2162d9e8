import { AppError } from '../base/errors.ts';

export class BytesError extends AppError<'BYTES_OVERRUN' | 'BYTES_NUMBER'> {}
