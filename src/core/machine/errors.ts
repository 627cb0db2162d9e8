/** Errors of the transaction machines. Both codes are our own mistakes: no peer and no user can cause them. */
import { AppError } from '../base/errors.ts';

export type MachineCode =
  | 'MACHINE_ILLEGAL_EVENT' // a fact that cannot be true in this state: the driver is wrong
  | 'MACHINE_RECORDS'; // journal records that no run of the machine can have written

export class MachineError extends AppError<MachineCode> {}
