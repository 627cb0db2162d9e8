/** Sizes, rates and durations: parsing what people write and formatting what they read. */
import { AppError } from '../base/errors.ts';

export const PAGE_BYTES = 4096;
export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

export class UnitError extends AppError<'UNIT_SIZE' | 'UNIT_RATE' | 'UNIT_DURATION'> {}

const sizeFactors: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  K: KIB,
  KIB: KIB,
  KB: 1e3,
  M: MIB,
  MIB: MIB,
  MB: 1e6,
  G: GIB,
  GIB: GIB,
  GB: 1e9,
  T: 1024 * GIB,
  TIB: 1024 * GIB,
};

/** Bytes from "512MiB", "1G" (binary), "700 MB" (decimal) or a number of bytes. Throws UnitError. */
export function parseSizeBytes(text: string | number): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(String(text));
  const factor = sizeFactors[(match?.[2] ?? '?').toUpperCase()];
  const bytes = match === null || factor === undefined ? NaN : Math.round(Number(match[1]) * factor);
  if (!Number.isSafeInteger(bytes)) throw new UnitError('UNIT_SIZE', `"${text}" is not a size like 512MiB or 1G`);
  return bytes;
}

const rateFactors: Readonly<Record<string, number>> = { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 };

/** Bytes per second from "1gbit", "100mbit" (network style, decimal) or "50MB", "10MiB/s". Throws UnitError. */
export function parseRateBytesPerSecond(text: string): number {
  const trimmed = text.trim().replace(/(\/s|ps)$/i, '');
  const bits = /^(\d+(?:\.\d+)?)\s*([kmg]?bit)$/i.exec(trimmed);
  const factor = rateFactors[(bits?.[2] ?? '').toLowerCase()];
  if (bits !== null && factor !== undefined) return Math.round((Number(bits[1]) * factor) / 8);
  try {
    return parseSizeBytes(trimmed);
  } catch {
    throw new UnitError('UNIT_RATE', `"${text}" is not a rate like 1gbit or 50MB/s`);
  }
}

const durationFactors: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, min: 60_000, h: 3_600_000 };

/** Milliseconds from "300ms", "3s", "2m" or a bare number of milliseconds. Throws UnitError. */
export function parseDurationMs(text: string | number): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(String(text));
  const factor = durationFactors[(match?.[2] ?? '?').toLowerCase() || 'ms'];
  if (match === null || factor === undefined) {
    throw new UnitError('UNIT_DURATION', `"${text}" is not a duration like 300ms or 3s`);
  }
  return Number(match[1]) * factor;
}

const sizeSteps: readonly [number, string][] = [
  [GIB, 'GiB'],
  [MIB, 'MiB'],
  [KIB, 'KiB'],
];

/** "1.5 GiB", "82 MiB", "12 B": three significant figures at most. */
export function formatBytes(bytes: number): string {
  for (const [factor, unit] of sizeSteps) {
    if (bytes >= factor) return `${significant(bytes / factor)} ${unit}`;
  }
  return `${Math.round(bytes)} B`;
}

/** "940 Mbit/s": network rates in bits, as links are sold. */
export function formatRate(bytesPerSecond: number): string {
  const bits = bytesPerSecond * 8;
  if (bits >= 1e9) return `${significant(bits / 1e9)} Gbit/s`;
  if (bits >= 1e6) return `${significant(bits / 1e6)} Mbit/s`;
  return bits >= 1e3 ? `${significant(bits / 1e3)} kbit/s` : `${Math.round(bits)} bit/s`;
}

/** "830 ms", "3.42 s", "2 min 05 s". */
export function formatMs(ms: number): string {
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(2)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`;
}

function significant(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
