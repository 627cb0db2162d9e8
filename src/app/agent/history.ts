/**
 * What happened on this host, kept in `history.db` (SQLite, WAL): reports of ended migrations and the specs of machines
 * that were handed over. The journal decides about guests; this is for people, and losing it loses no guest.
 */
import { DatabaseSync } from 'node:sqlite';
import { migrationReportSchema } from '../../core/api/schemas.ts';
import type { MigrationReport } from '../../core/model/migration.ts';
import type { VmSpec } from '../../core/model/vm.ts';
import { AgentError } from './errors.ts';

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS migrations (
    id TEXT PRIMARY KEY,
    vm TEXT NOT NULL,
    started_at TEXT NOT NULL,
    outcome TEXT NOT NULL,
    report TEXT NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS migrations_by_time ON migrations (started_at DESC, id DESC);
  CREATE TABLE IF NOT EXISTS handed_over (
    vm TEXT NOT NULL,
    destination TEXT NOT NULL,
    at TEXT NOT NULL,
    spec TEXT NOT NULL
  ) STRICT;
`;

export class History {
  readonly #db: DatabaseSync;

  /** `file` may be ":memory:". Throws AgentError HISTORY_UNREADABLE. */
  constructor(file: string) {
    try {
      this.#db = new DatabaseSync(file);
      this.#db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 2000;');
      this.#db.exec(SCHEMA);
    } catch (cause) {
      throw new AgentError('HISTORY_UNREADABLE', `Cannot open the history ${file}`, { file }, { cause });
    }
  }

  /** Keeps a report; a second one of the same migration (after a recovery) replaces the first. */
  add(report: MigrationReport): void {
    this.#db
      .prepare('INSERT OR REPLACE INTO migrations (id, vm, started_at, outcome, report) VALUES (?, ?, ?, ?, ?)')
      .run(report.id, report.vm, report.startedAt, report.outcome, JSON.stringify(report));
  }

  find(id: string): MigrationReport | null {
    const row = this.#db.prepare('SELECT report FROM migrations WHERE id = ?').get(id);
    return row === undefined ? null : reportOf(row);
  }

  /** Newest first. */
  list(options: { readonly limit: number; readonly vm?: string | undefined }): MigrationReport[] {
    const rows =
      options.vm === undefined
        ? this.#db.prepare('SELECT report FROM migrations ORDER BY started_at DESC, id DESC LIMIT ?').all(options.limit)
        : this.#db
            .prepare('SELECT report FROM migrations WHERE vm = ? ORDER BY started_at DESC, id DESC LIMIT ?')
            .all(options.vm, options.limit);
    return rows.flatMap((row) => reportOf(row) ?? []);
  }

  /** Keeps the spec of a machine that now runs elsewhere. */
  addHandedOver(spec: VmSpec, destination: string, at: string): void {
    this.#db
      .prepare('INSERT INTO handed_over (vm, destination, at, spec) VALUES (?, ?, ?, ?)')
      .run(spec.name, destination, at, JSON.stringify(spec));
  }

  /** Where a machine of that name went last, or null. */
  whereTo(vm: string): { readonly destination: string; readonly at: string } | null {
    const row = this.#db
      .prepare('SELECT destination, at FROM handed_over WHERE vm = ? ORDER BY at DESC LIMIT 1')
      .get(vm);
    return row === undefined ? null : { destination: String(row['destination']), at: String(row['at']) };
  }

  close(): void {
    this.#db.close();
  }
}

/** A row that an older or newer agent wrote in another form is left out. */
function reportOf(row: Record<string, unknown>): MigrationReport | null {
  const parsed = migrationReportSchema.safeParse(JSON.parse(String(row['report'])));
  return parsed.success ? parsed.data : null;
}
