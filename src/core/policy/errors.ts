/** Errors of the autopilot's policy: all of them are about what a person or an agent gave to it. */
import { AppError } from '../base/errors.ts';

export type PolicyCode =
  | 'POLICY_CONFIG' // a field of the configuration is out of its range; `fields` name it and the range
  | 'POLICY_FLEET' // the figures of the fleet contradict each other or are no numbers
  | 'POLICY_UNKNOWN_HOST' // no such host in the fleet
  | 'POLICY_MOVE'; // a move began that cannot begin, or ended without having begun

export class PolicyError extends AppError<PolicyCode> {}
