/**
 * A guest of an end-to-end test: its console across hosts, its writer's lines, and its moves.
 *
 * A host removes its part of the console with the machine, so the file is held open from the start on. QEMU writes what the
 * guest says at once, hence the parts of all hosts, put together, are one unbroken text: a lost character would show.
 */
import assert from 'node:assert/strict';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseWriterLines } from '../../guests/spec.ts';
import type { WriterLine } from '../../guests/spec.ts';

const POLL_MS = 50;
/** Boots take 4 to 10 s under software emulation on an idle machine, several times that on a busy one. */
export const BOOT_TIMEOUT_MS = 90_000;

export class LabGuest {
  readonly name: string;
  /** One descriptor for each host that the guest has been on, in order. */
  readonly #parts: number[] = [];

  constructor(name: string) {
    this.name = name;
  }

  /** The guest is now on a host where its console goes to this file. */
  follow(consoleFile: string): void {
    this.#parts.push(openSync(consoleFile, 'r'));
  }

  close(): void {
    for (const part of this.#parts.splice(0)) closeSync(part);
  }

  /** All that the guest has said, on every host. */
  text(): string {
    return this.#parts.map(readAll).join('');
  }

  /** Waits until the text has something that matches, and returns the match. Throws with the end of the text. */
  async waitFor(pattern: RegExp, timeoutMs = BOOT_TIMEOUT_MS): Promise<RegExpExecArray> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const text = this.text();
      const match = pattern.exec(text);
      if (match !== null) return match;
      if (performance.now() > deadline) {
        assert.fail(
          `Guest "${this.name}" did not say ${pattern} within ${timeoutMs} ms; it ended with:\n${tail(text)}`,
        );
      }
      await sleep(POLL_MS);
    }
  }

  async waitReady(timeoutMs = BOOT_TIMEOUT_MS): Promise<void> {
    await this.waitFor(/^READY /m, timeoutMs);
  }

  writerLines(): WriterLine[] {
    return parseWriterLines(this.text());
  }

  /** Waits until the writer has said `count` further lines; returns all lines so far. */
  async moreWriterLines(count: number, timeoutMs = 30_000): Promise<WriterLine[]> {
    const wanted = this.writerLines().length + count;
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const lines = this.writerLines();
      if (lines.length >= wanted) return lines;
      if (performance.now() > deadline) {
        const said = `${lines.length - wanted + count} of ${count}`;
        assert.fail(`The writer of "${this.name}" said ${said} lines within ${timeoutMs} ms:\n${tail(this.text())}`);
      }
      await sleep(POLL_MS);
    }
  }

  /** The writer found no damage, its sequence never went back, and no line of it is broken or missing. */
  assertSound(): void {
    const text = this.text();
    assert.doesNotMatch(text, /^BAD /m, `the writer of "${this.name}" found damaged pages`);
    // Of the text that was read, and no other: the guest goes on writing.
    const lines = parseWriterLines(text);
    assert.ok(lines.length > 0, `the writer of "${this.name}" has said something`);
    const complete = text.slice(0, text.lastIndexOf('\n') + 1);
    const broken = (complete.match(/^W .*$/gm) ?? []).filter((line) => parseWriterLines(line).length === 0);
    assert.deepEqual(broken, [], 'every line of the writer is whole');
    for (const [index, line] of lines.entries()) {
      const before = lines[index - 1];
      assert.equal(line.corruptedWords, 0, `damaged words at sequence ${line.sequence}`);
      if (before === undefined) continue;
      assert.ok(line.sequence >= before.sequence, `sequence ${line.sequence} after ${before.sequence}`);
      assert.ok(line.guestMs > before.guestMs, `guest clock ${line.guestMs} after ${before.guestMs}`);
    }
  }
}

export function tail(text: string, lines = 12): string {
  return text.trimEnd().split('\n').slice(-lines).join('\n');
}

function readAll(descriptor: number): string {
  const bytes = Buffer.alloc(fstatSync(descriptor).size);
  const count = bytes.length === 0 ? 0 : readSync(descriptor, bytes, 0, bytes.length, 0);
  return bytes.toString('latin1', 0, count);
}
