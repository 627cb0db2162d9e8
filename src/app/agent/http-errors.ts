/** Anything that was thrown -> HTTP status and error body. */
import { ApiError, httpStatusOf } from '../../core/api/errors.ts';
import type { ErrorBody } from '../../core/api/errors.ts';
import { AppError, describeError } from '../../core/base/errors.ts';

export function errorAnswer(error: unknown): { status: number; body: ErrorBody } {
  if (error instanceof AppError) {
    const problems = error instanceof ApiError ? [...error.problems] : [];
    const body = {
      code: error.code as string,
      message: describeError(error).replaceAll('.: ', ': '),
      fields: plainFields(error),
      problems,
    };
    return { status: httpStatusOf(body.code), body };
  }
  const status = statusOfFastify(error);
  if (status === 413) return answer('BODY_TOO_LARGE', 'The request is too large');
  if (status !== null && status < 500) return answer('INVALID_REQUEST', describeError(error));
  return answer('INTERNAL', `The agent failed: ${describeError(error)}`);
}

function answer(code: ApiError['code'], message: string): { status: number; body: ErrorBody } {
  return { status: httpStatusOf(code), body: { code, message, fields: {}, problems: [] } };
}

function plainFields(error: AppError): ErrorBody['fields'] {
  return Object.fromEntries(
    Object.entries(error.fields).map(([key, value]) => [key, isList(value) ? [...value] : value]),
  ) as ErrorBody['fields'];
}

const isList = (value: unknown): value is readonly string[] => Array.isArray(value);

/** Errors of fastify itself (malformed JSON, wrong content type) carry their status. */
function statusOfFastify(error: unknown): number | null {
  const status = (error as { statusCode?: unknown } | null)?.statusCode;
  return typeof status === 'number' ? status : null;
}
