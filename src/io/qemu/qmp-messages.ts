/** Reads what QMP sends unasked: the greeting and events. Unknown in, typed out. */
import type { QmpEvent } from './qmp-types.ts';
import type { QemuVersion } from './version.ts';

export type QmpGreeting = { readonly version: QemuVersion; readonly oob: boolean };
type Json = Readonly<Record<string, unknown>>;

export function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The version and whether out of band is offered, from the body of the "QMP" greeting; null if it names no version. */
export function parseGreeting(body: Json): QmpGreeting | null {
  const version = isRecord(body['version']) ? body['version'] : {};
  const qemu = isRecord(version['qemu']) ? version['qemu'] : {};
  const { major, minor, micro } = qemu;
  if (typeof major !== 'number' || typeof minor !== 'number' || typeof micro !== 'number') return null;
  const capabilities: unknown = body['capabilities'];
  return { version: { major, minor, micro }, oob: Array.isArray(capabilities) && capabilities.includes('oob') };
}

/** An event with QEMU's own time stamp; a message without one gets 0. */
export function parseEvent(message: Json, receivedMs: number): QmpEvent {
  const stamp = isRecord(message['timestamp']) ? message['timestamp'] : {};
  const seconds = typeof stamp['seconds'] === 'number' ? stamp['seconds'] : 0;
  const microseconds = typeof stamp['microseconds'] === 'number' ? stamp['microseconds'] : 0;
  return {
    event: String(message['event']),
    data: message['data'] ?? {},
    timestampUs: seconds * 1e6 + microseconds,
    receivedMs,
  };
}
