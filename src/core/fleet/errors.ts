import { AppError } from '../base/errors.ts';

/** SIM_OPTIONS: what was asked for is no fleet, or one without room for its VMs. */
export class SimError extends AppError<'SIM_OPTIONS'> {}
