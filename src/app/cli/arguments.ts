/** Values of options, with units, as commander wants them: a wrong one is a usage error that names the option. */
import { InvalidArgumentError } from 'commander';
import { describeError } from '../../core/base/errors.ts';
import { parseDurationMs, parseRateBytesPerSecond, parseSizeBytes } from '../../core/model/units.ts';

export const durationMs = orInvalid(parseDurationMs);
export const byteSize = orInvalid(parseSizeBytes);
export const bytesPerSecond = orInvalid(parseRateBytesPerSecond);

export function wholeNumber(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`"${text}" is not a whole number.`);
}

/** Of an option that may be given as "a,b" and several times: each adds to those before. */
export function nameList(text: string, before: readonly string[] = []): string[] {
  return [...before, ...text.split(',').filter((name) => name !== '')];
}

function orInvalid(parse: (text: string) => number): (text: string) => number {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw new InvalidArgumentError(`${describeError(error)}.`);
    }
  };
}
