/** Errors of the lane protocol: what the peer did wrong with bytes. Never thrown for our own mistakes. */
import { AppError } from '../base/errors.ts';

export type LaneFrameErrorCode =
  | 'LANE_FRAME_TYPE'
  | 'LANE_FRAME_FLAGS'
  | 'LANE_FRAME_RESERVED'
  | 'LANE_FRAME_TOO_LONG'
  | 'LANE_FRAME_LENGTH'
  | 'LANE_FRAME_RUN'
  | 'LANE_FRAME_DELTA'
  | 'LANE_FRAME_TRUNCATED';

/** A lane connection carried something that the protocol does not allow. */
export class LaneFrameError extends AppError<LaneFrameErrorCode> {}
