/**
 * What the host and its VMs did, kept in `telemetry.db` (SQLite): an hour by seconds, a week by minutes, and never more rows
 * than the limits say, so that with very many VMs it is less time, not more space.
 *
 * Rows are appended in the order of time and removed in the same order: each sample is one transaction that adds its rows and
 * removes at least as many that are due. Nothing waits for the disk (synchronous = OFF): after a crash of the machine the file
 * may be damaged, and is begun anew then; it is for people, no decision needs it.
 */
import { rmSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { HostTelemetry, VmTelemetry } from '../../core/model/telemetry.ts';
import type { TelemetryHistory, TelemetryPoint } from '../../core/model/telemetry-history.ts';
import { MINUTE_ROWS_MAX, MINUTES_KEPT_MS, SAMPLE_INTERVAL_MS, SECOND_ROWS_MAX, SECONDS_KEPT_MS } from './limits.ts';

const MINUTE_MS = 60_000;
/** Rows removed beyond those added, so that what is left of a longer time goes in the end. */
const EXTRA_ROWS = 16;
/** The host's own rows. A VM's name is never empty. */
const HOST = '';

const tiers = ['seconds', 'minutes'] as const;
type Tier = (typeof tiers)[number];

const rates = [
  'cores',
  'otherCores',
  'dirtyBytesPerS',
  'receivedBytesPerS',
  'sentBytesPerS',
  'readBytesPerS',
  'writtenBytesPerS',
] as const;
const columns = ['memoryBytes', ...rates] as const;

const SCHEMA = tiers
  .map(
    (tier) => `
  CREATE TABLE IF NOT EXISTS ${tier} (
    id INTEGER PRIMARY KEY,
    atMs INTEGER NOT NULL,
    subject TEXT NOT NULL,
    ${columns.map((column) => `${column} REAL`).join(', ')}
  ) STRICT;
  CREATE INDEX IF NOT EXISTS ${tier}_of ON ${tier} (subject, atMs);`,
  )
  .join('\n');

export type StoreLimits = {
  readonly secondsKeptMs: number;
  readonly minutesKeptMs: number;
  readonly secondRows: number;
  readonly minuteRows: number;
};

const defaultLimits: StoreLimits = {
  secondsKeptMs: SECONDS_KEPT_MS,
  minutesKeptMs: MINUTES_KEPT_MS,
  secondRows: SECOND_ROWS_MAX,
  minuteRows: MINUTE_ROWS_MAX,
};

export class TelemetryStore {
  readonly #db: DatabaseSync;
  readonly #limits: StoreLimits;
  readonly #insert: Readonly<Record<Tier, StatementSync>>;
  readonly #trim: Readonly<Record<Tier, StatementSync>>;
  readonly #sums = new Map<string, MinuteMean>();
  #minute = -1;

  /** `file` may be ":memory:". A file that is no database any more is replaced. Throws what SQLite throws beyond that. */
  constructor(file: string, limits: StoreLimits = defaultLimits) {
    this.#limits = limits;
    this.#db = openOrReplace(file);
    const marks = columns.map(() => '?').join(', ');
    const insert = (tier: Tier): StatementSync =>
      this.#db.prepare(`INSERT INTO ${tier} (atMs, subject, ${columns.join(', ')}) VALUES (?, ?, ${marks})`);
    // The oldest rows: of too long ago, or more than are kept.
    const trim = (tier: Tier): StatementSync =>
      this.#db.prepare(
        `DELETE FROM ${tier} WHERE id IN (SELECT id FROM ${tier} ORDER BY id LIMIT ?)
         AND (atMs < ? OR id <= (SELECT max(id) FROM ${tier}) - ?)`,
      );
    this.#insert = { seconds: insert('seconds'), minutes: insert('minutes') };
    this.#trim = { seconds: trim('seconds'), minutes: trim('minutes') };
  }

  /** Keeps a sample: one transaction. */
  add(sample: HostTelemetry): void {
    const rows: [subject: string, point: TelemetryPoint][] = [
      [HOST, hostPoint(sample)],
      ...sample.vms.map((vm): [string, TelemetryPoint] => [vm.name, vmPoint(vm, sample.atMs)]),
    ];
    this.#db.exec('BEGIN');
    try {
      this.#closeMinute(Math.floor(sample.atMs / MINUTE_MS));
      this.#append('seconds', rows, sample.atMs);
      this.#db.exec('COMMIT');
    } catch (error) {
      this.#db.exec('ROLLBACK');
      throw error;
    }
    for (const [subject, point] of rows) this.#meanOf(subject).add(point);
  }

  /** Of the host when `vm` is not given. `nowMs`: epoch milliseconds. */
  history(vm: string | undefined, minutes: number, nowMs: number): TelemetryHistory {
    const isShort = minutes * MINUTE_MS <= SECONDS_KEPT_MS;
    const tier: Tier = isShort ? 'seconds' : 'minutes';
    const rows = this.#db
      .prepare(`SELECT atMs, ${columns.join(', ')} FROM ${tier} WHERE subject = ? AND atMs > ? ORDER BY atMs`)
      .all(vm ?? HOST, nowMs - minutes * MINUTE_MS);
    const points = rows.map((row) => ({ ...row }) as TelemetryPoint);
    return { vm: vm ?? null, spanMs: isShort ? SAMPLE_INTERVAL_MS : MINUTE_MS, points };
  }

  /** How many rows there are. */
  get rows(): Readonly<Record<Tier, number>> {
    const count = (tier: Tier): number => Number(this.#db.prepare(`SELECT count(*) AS n FROM ${tier}`).get()?.['n']);
    return { seconds: count('seconds'), minutes: count('minutes') };
  }

  close(): void {
    this.#db.close();
  }

  #closeMinute(minute: number): void {
    if (minute === this.#minute) return;
    const endMs = (this.#minute + 1) * MINUTE_MS;
    const rows = [...this.#sums].map(([subject, mean]): [string, TelemetryPoint] => [subject, mean.point(endMs)]);
    if (rows.length > 0) this.#append('minutes', rows, endMs);
    this.#sums.clear();
    this.#minute = minute;
  }

  #append(tier: Tier, rows: readonly (readonly [string, TelemetryPoint])[], nowMs: number): void {
    const { secondsKeptMs, minutesKeptMs, secondRows, minuteRows } = this.#limits;
    for (const [subject, point] of rows) {
      this.#insert[tier].run(point.atMs, subject, ...columns.map((column) => point[column]));
    }
    const [keptMs, keptRows] = tier === 'seconds' ? [secondsKeptMs, secondRows] : [minutesKeptMs, minuteRows];
    this.#trim[tier].run(rows.length + EXTRA_ROWS, nowMs - keptMs, keptRows);
  }

  #meanOf(subject: string): MinuteMean {
    const known = this.#sums.get(subject);
    if (known !== undefined) return known;
    const made = new MinuteMean();
    this.#sums.set(subject, made);
    return made;
  }
}

/** The mean of the points of a minute; what was not known at times is the mean of the rest. */
class MinuteMean {
  readonly #sums = new Map<(typeof rates)[number], { sum: number; count: number }>();
  #memoryBytes: number | null = null;

  add(point: TelemetryPoint): void {
    this.#memoryBytes = point.memoryBytes;
    for (const rate of rates) {
      const value = point[rate];
      if (value === null) continue;
      const known = this.#sums.get(rate) ?? { sum: 0, count: 0 };
      this.#sums.set(rate, { sum: known.sum + value, count: known.count + 1 });
    }
  }

  point(atMs: number): TelemetryPoint {
    const mean = (rate: (typeof rates)[number]): number | null => {
      const known = this.#sums.get(rate);
      return known === undefined ? null : known.sum / known.count;
    };
    return {
      ...{ atMs, memoryBytes: this.#memoryBytes, cores: mean('cores'), otherCores: mean('otherCores') },
      dirtyBytesPerS: mean('dirtyBytesPerS'),
      receivedBytesPerS: mean('receivedBytesPerS'),
      sentBytesPerS: mean('sentBytesPerS'),
      readBytesPerS: mean('readBytesPerS'),
      writtenBytesPerS: mean('writtenBytesPerS'),
    };
  }
}

function hostPoint({ atMs, cpu, memory, network, disk }: HostTelemetry): TelemetryPoint {
  const memoryBytes = memory.totalBytes - memory.availableBytes;
  return {
    ...{ atMs, cores: cpu.usedCores, otherCores: cpu.guestCores, memoryBytes, dirtyBytesPerS: null },
    ...network,
    ...disk,
  };
}

function vmPoint({ guestCores, overheadCores, memory, dirtyBytesPerS, network, disk }: VmTelemetry, atMs: number) {
  const memoryBytes = memory.residentBytes;
  return { atMs, cores: guestCores, otherCores: overheadCores, memoryBytes, dirtyBytesPerS, ...network, ...disk };
}

function openOrReplace(file: string): DatabaseSync {
  try {
    return open(file);
  } catch (error) {
    if (file === ':memory:') throw error;
    for (const path of [file, `${file}-wal`, `${file}-shm`]) rmSync(path, { force: true });
    return open(file);
  }
}

function open(file: string): DatabaseSync {
  const db = new DatabaseSync(file);
  try {
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA busy_timeout = 100;');
    db.exec(SCHEMA);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}
