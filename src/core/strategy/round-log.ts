/**
 * Rounds as the report lists them: what was sent between two dirty syncs. A batch belongs to the round in which it was
 * granted, also when it is sent after that round's end. A round in which nothing happened is not listed.
 */
import type { RoundReport } from '../model/migration.ts';

type Round = {
  stage: RoundReport['stage'];
  startedMs: number;
  ms: number;
  pagesSent: number;
  wireBytes: number;
  pagesDirtied: number;
};

export class RoundLog {
  readonly #rounds: Round[] = [];
  #open: Round;
  #renamingsAtStart = 0;

  constructor(nowMs: number) {
    this.#open = { stage: 'preCopy', startedMs: nowMs, ms: 0, pagesSent: 0, wireBytes: 0, pagesDirtied: 0 };
  }

  /** What a batch that is granted now hands to `sent` later. */
  get openIndex(): number {
    return this.#rounds.length;
  }

  /** A batch granted in the round with that index was sent. */
  sent(index: number, pages: number, wireBytes: number): void {
    const round = this.#rounds[index] ?? this.#open;
    round.pagesSent += pages;
    round.wireBytes += wireBytes;
  }

  /** Ends the open round and begins one of stage `next`; renamings is the running total of pages named again. */
  close(renamings: number, nowMs: number, next: RoundReport['stage'] = 'preCopy'): void {
    const round = this.#open;
    round.ms = nowMs - round.startedMs;
    round.pagesDirtied = renamings - this.#renamingsAtStart;
    this.#rounds.push(round);
    this.#renamingsAtStart = renamings;
    this.#open = { stage: next, startedMs: nowMs, ms: 0, pagesSent: 0, wireBytes: 0, pagesDirtied: 0 };
  }

  /** The rounds that have ended, numbered from 1. */
  reports(): RoundReport[] {
    return this.#rounds
      .filter((round, i) => i === 0 || round.wireBytes > 0 || round.pagesDirtied > 0)
      .map(({ stage, ms, pagesSent, wireBytes, pagesDirtied }, i) => ({
        round: i + 1,
        stage,
        ms,
        pagesSent,
        wireBytes,
        pagesDirtied,
      }));
  }
}
