/** What can go wrong with a QEMU process, its monitor, its guest agent and its memory. */
import { AppError } from '../../core/base/errors.ts';

/** QMP_TIMEOUT carries `sent`: false means that the command never reached QEMU. QMP_COMMAND carries `class` and `desc`. */
export class QmpError extends AppError<
  'QMP_CONNECT' | 'QMP_TIMEOUT' | 'QMP_CLOSED' | 'QMP_COMMAND' | 'QMP_PROTOCOL' | 'QMP_ABORTED'
> {}

/** QGA_ABSENT: nothing answers at all; QGA_TIMEOUT: it answered before, not now; QGA_COMMAND: it refused. */
export class GuestAgentError extends AppError<'QGA_ABSENT' | 'QGA_TIMEOUT' | 'QGA_COMMAND'> {}

export class QemuProcessError extends AppError<'QEMU_BINARY' | 'QEMU_START' | 'QEMU_SPEC' | 'QEMU_KILL'> {}

export class GuestMemoryError extends AppError<'MEMORY_DENIED' | 'MEMORY_GONE' | 'MEMORY_READ' | 'MEMORY_LAYOUT'> {}

export class TapError extends AppError<'TAP_FAILED'> {}

/** QEMU_MIGRATION_FAILED: QEMU reports failed or cancelled; the others: a state did not come in time. */
export class MigrationControlError extends AppError<
  'QEMU_MIGRATION_FAILED' | 'QEMU_MIGRATION_TIMEOUT' | 'QEMU_STATE_TIMEOUT'
> {}
