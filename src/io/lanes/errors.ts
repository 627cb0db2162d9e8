/** Errors of the lanes room. They cross thread boundaries as code and message. */
import { AppError, describeError } from '../../core/base/errors.ts';

export type LaneErrorCode =
  /** No connection, or no free port to listen on. */
  | 'LANE_CONNECT'
  /** The other side's certificate is not trusted, or carries another name. */
  | 'LANE_CERTIFICATE'
  /** The destination did not accept the lane. */
  | 'LANE_REFUSED'
  /** The connection ended although the source had not said goodbye. */
  | 'LANE_CLOSED'
  /** Guest memory could not be read. */
  | 'LANE_READ'
  /** Guest memory could not be written. */
  | 'LANE_PLACE'
  /** The peer did not keep to the protocol. */
  | 'LANE_PROTOCOL'
  /** The worker thread itself broke. */
  | 'LANE_WORKER';

export class LaneError extends AppError<LaneErrorCode> {}

/** What was thrown as a LaneError; anything that is not one gets `code`. */
export function toLaneError(error: unknown, code: LaneErrorCode): LaneError {
  return error instanceof LaneError ? error : new LaneError(code, describeError(error), {}, { cause: error });
}
