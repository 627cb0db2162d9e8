/**
 * Structured logs, one JSON line per entry: `level`, `time`, `event` (from the closed list), `msg`, facts.
 *
 * error = what the user asked for failed; warn = it went on, but not as asked; info = rare changes of state; debug may
 * repeat. Entries are written synchronously, so that the last line before a crash is in the file.
 */
import pino from 'pino';

export const logLevels = ['error', 'warn', 'info', 'debug', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

/** Every event name that may be logged: `thing.whatHappened`. */
export const logEvents = [
  'agent.started',
  'agent.stopping',
  'agent.stopped',
  'agent.configuration',
  'agent.recovery',
  'http.request',
  'http.failed',
  'vm.defined',
  'vm.starting',
  'vm.started',
  'vm.adopted',
  'vm.paused',
  'vm.resumed',
  'vm.stopped',
  'vm.gone',
  'vm.failed',
  'qemu.started',
  'qemu.exited',
  'qemu.event',
  'qemu.command',
  'qemu.monitor',
  'guestAgent.absent',
  'guestAgent.answered',
  'link.listening',
  'link.connected',
  'link.refused',
  'link.closed',
  'link.failed',
  'lane.started',
  'lane.stopped',
  'lane.failed',
  'migration.accepted',
  'migration.refused',
  'migration.unplanned',
  'migration.stage',
  'migration.round',
  'migration.feed',
  'migration.pruning',
  'migration.warmUp',
  'migration.bound',
  'migration.link',
  'migration.switchover',
  'migration.prepared',
  'migration.commit',
  'migration.completed',
  'migration.aborted',
  'migration.failed',
  'migration.inDoubt',
  'migration.resolved',
  'telemetry.failed',
  'journal.opened',
  'journal.appended',
  'journal.failed',
  'autopilot.decided',
  'autopilot.moved',
  'autopilot.state',
  'autopilot.failed',
  'drain.state',
  'lab.step',
] as const;
export type LogEvent = (typeof logEvents)[number];

export type LogFacts = Readonly<Record<string, unknown>>;

export type Logger = {
  error(event: LogEvent, message: string, facts?: LogFacts): void;
  warn(event: LogEvent, message: string, facts?: LogFacts): void;
  info(event: LogEvent, message: string, facts?: LogFacts): void;
  debug(event: LogEvent, message: string, facts?: LogFacts): void;
  /** A logger that adds these facts to every entry. */
  child(facts: LogFacts): Logger;
  flush(): void;
};

export type LoggerOptions = {
  readonly level: LogLevel;
  /** A file path (created with its folders, appended to) or the standard error. */
  readonly destination: { readonly file: string } | 'stderr';
};

export function createLogger(options: LoggerOptions): Logger {
  const stream = pino.destination(
    options.destination === 'stderr'
      ? { dest: 2, sync: true }
      : { dest: options.destination.file, sync: true, mkdir: true, append: true },
  );
  const root = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: pino.stdSerializers.errWithCause },
    },
    stream,
  );
  return wrap(root, () => stream.flushSync());
}

/** Drops everything; for tests and for callers that do not care. */
export const silentLogger: Logger = {
  error: () => undefined,
  warn: () => undefined,
  info: () => undefined,
  debug: () => undefined,
  child: () => silentLogger,
  flush: () => undefined,
};

function wrap(target: pino.Logger, flush: () => void): Logger {
  const at =
    (level: 'error' | 'warn' | 'info' | 'debug') =>
    (event: LogEvent, message: string, facts: LogFacts = {}) =>
      target[level]({ event, ...facts }, message);
  return {
    error: at('error'),
    warn: at('warn'),
    info: at('info'),
    debug: at('debug'),
    child: (facts) => wrap(target.child(facts), flush),
    flush,
  };
}
