/**
 * What the autopilot decided, and what it has to remember: `autopilot.db` (SQLite, WAL) in the state folder.
 *
 * The same decision about a host, round after round, is one entry with a count. Entries of moves and others are bounded
 * apart, oldest first out, because moves are what cooldowns and budgets are rebuilt from after a restart (policy-memory.ts).
 */
import { DatabaseSync } from 'node:sqlite';
import type { AutopilotLogEntry, LogKind, LoggedMove } from '../../core/model/autopilot.ts';
import { AutopilotError } from './errors.ts';
import { LOGGED_MOVES_MAX, LOGGED_OTHERS_MAX, LOG_SLACK } from './limits.ts';

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS entries (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    dry_run INTEGER NOT NULL,
    host TEXT,
    sentence TEXT NOT NULL,
    details TEXT NOT NULL,
    at_ms REAL NOT NULL,
    times INTEGER NOT NULL,
    last_at_ms REAL NOT NULL,
    move TEXT
  ) STRICT;
  CREATE INDEX IF NOT EXISTS moves_by_time ON entries (at_ms) WHERE kind = 'move';
  CREATE TABLE IF NOT EXISTS memory (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
`;

export type NewEntry = {
  readonly kind: LogKind;
  readonly dryRun: boolean;
  readonly host: string | null;
  readonly sentence: string;
  readonly details?: readonly string[];
  readonly atMs: number;
  readonly move?: LoggedMove;
};

/** An entry, and what makes the next one its repetition. */
type Latest = { readonly sequence: number; readonly sameAs: string; times: number; lastAtMs: number; isSaved: boolean };

export type LogBounds = { readonly moves: number; readonly others: number };
const bounds: LogBounds = { moves: LOGGED_MOVES_MAX, others: LOGGED_OTHERS_MAX };

export class DecisionLog {
  readonly #db: DatabaseSync;
  readonly #bounds: LogBounds;
  readonly #latest = new Map<string, Latest>();
  #unchecked = 0;

  /** `file` may be ":memory:". Throws AutopilotError LOG_UNREADABLE. */
  constructor(file: string, limits: LogBounds = bounds) {
    this.#bounds = limits;
    try {
      this.#db = new DatabaseSync(file);
      this.#db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 2000;');
      this.#db.exec(SCHEMA);
    } catch (cause) {
      throw new AutopilotError('LOG_UNREADABLE', `Cannot open the autopilot's log ${file}`, { file }, { cause });
    }
  }

  add({ kind, dryRun, host, sentence, details = [], atMs, move }: NewEntry): number {
    const { lastInsertRowid } = this.#db
      .prepare(
        'INSERT INTO entries (kind, dry_run, host, sentence, details, at_ms, times, last_at_ms, move) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?)',
      )
      .run(
        ...([kind, dryRun ? 1 : 0, host, sentence, JSON.stringify(details), atMs, atMs] as const),
        move === undefined ? null : JSON.stringify(move),
      );
    if (++this.#unchecked >= LOG_SLACK) this.trim();
    return Number(lastInsertRowid);
  }

  /**
   * The decision of a round about a subject, a host for example: a new entry where `sameAs` is not that of the decision
   * before, a count where it is. Counts are on disk after `save`.
   */
  addOrCount(subject: string, sameAs: string, entry: NewEntry): void {
    const latest = this.#latest.get(subject);
    if (latest?.sameAs === sameAs) {
      Object.assign(latest, { times: latest.times + 1, lastAtMs: entry.atMs, isSaved: false });
      return;
    }
    if (latest !== undefined) this.#save(latest);
    const sequence = this.add(entry);
    this.#latest.set(subject, { sequence, sameAs, times: 1, lastAtMs: entry.atMs, isSaved: true });
  }

  /** What comes next about any subject is a new entry. */
  forgetLatest(): void {
    this.save();
    this.#latest.clear();
  }

  save(): void {
    for (const latest of this.#latest.values()) this.#save(latest);
  }

  changeMove(sequence: number, change: Partial<LoggedMove>): void {
    const entry = this.find(sequence);
    if (entry === null || entry.move === null) return;
    const move: LoggedMove = { ...entry.move, ...change };
    this.#db.prepare('UPDATE entries SET move = ? WHERE sequence = ?').run(JSON.stringify(move), sequence);
  }

  find(sequence: number): AutopilotLogEntry | null {
    this.save();
    const row = this.#db.prepare('SELECT * FROM entries WHERE sequence = ?').get(sequence);
    return row === undefined ? null : entryOf(row);
  }

  /** Those after a sequence, or the newest ones; oldest first. */
  list({ after, limit }: { readonly after?: number | undefined; readonly limit: number }): AutopilotLogEntry[] {
    this.save();
    const rows =
      after === undefined
        ? this.#db.prepare('SELECT * FROM entries ORDER BY sequence DESC LIMIT ?').all(limit).toReversed()
        : this.#db.prepare('SELECT * FROM entries WHERE sequence > ? ORDER BY sequence LIMIT ?').all(after, limit);
    return rows.map(entryOf);
  }

  /** Moves that were made, or tried, since then; oldest first. */
  movesSince(atMs: number): AutopilotLogEntry[] {
    const rows = this.#db
      .prepare("SELECT * FROM entries WHERE kind = 'move' AND dry_run = 0 AND at_ms >= ? ORDER BY sequence")
      .all(atMs);
    return rows.map(entryOf);
  }

  /** What has to survive the agent. Null: nothing was kept under that name. */
  recall(name: string): unknown {
    const row = this.#db.prepare('SELECT value FROM memory WHERE name = ?').get(name);
    return row === undefined ? null : JSON.parse(String(row['value']));
  }

  /** Null forgets it. */
  keep(name: string, value: unknown): void {
    if (value === null) this.#db.prepare('DELETE FROM memory WHERE name = ?').run(name);
    else this.#db.prepare('INSERT OR REPLACE INTO memory (name, value) VALUES (?, ?)').run(name, JSON.stringify(value));
  }

  /** Removes the oldest entries beyond the bounds. */
  trim(): void {
    this.#unchecked = 0;
    const remove = (which: string, kept: number): void => {
      const beyond = this.#db
        .prepare(`SELECT sequence FROM entries WHERE ${which} ORDER BY sequence DESC LIMIT 1 OFFSET ?`)
        .get(kept);
      if (beyond === undefined) return;
      this.#db.prepare(`DELETE FROM entries WHERE ${which} AND sequence <= ?`).run(Number(beyond['sequence']));
    };
    remove("kind = 'move'", this.#bounds.moves);
    remove("kind <> 'move'", this.#bounds.others);
  }

  close(): void {
    this.save();
    this.trim();
    this.#db.close();
  }

  #save(latest: Latest): void {
    if (latest.isSaved) return;
    latest.isSaved = true;
    this.#db
      .prepare('UPDATE entries SET times = ?, last_at_ms = ? WHERE sequence = ?')
      .run(latest.times, latest.lastAtMs, latest.sequence);
  }
}

function entryOf(row: Record<string, unknown>): AutopilotLogEntry {
  const move = textOf(row['move']);
  return {
    sequence: Number(row['sequence']),
    kind: String(row['kind']) as LogKind,
    dryRun: row['dry_run'] === 1,
    host: textOf(row['host']),
    sentence: String(row['sentence']),
    details: JSON.parse(String(row['details'])) as string[],
    atMs: Number(row['at_ms']),
    times: Number(row['times']),
    lastAtMs: Number(row['last_at_ms']),
    move: move === null ? null : (JSON.parse(move) as LoggedMove),
  };
}

function textOf(column: unknown): string | null {
  return typeof column === 'string' ? column : null;
}
