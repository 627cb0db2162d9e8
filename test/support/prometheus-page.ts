/** Reads a page of metrics as Prometheus does, for tests, and finds what `promtool check metrics` would complain of. Pure. */

const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\]|\\.)*",?)*\})? (\S+)$/;
/** Units that are not base units (seconds, bytes), and what they are written for. */
const OTHER_UNITS = /_(ms|milliseconds|us|minutes|hours|kb|kib|mib|gib|bits|percent)(_|$)/;
const SUFFIXES = /_(bucket|sum|count)$/;

/** Values by name and labels, as they are written. */
export function valuesOf(text: string): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [, name, labels = '', value] = SAMPLE.exec(line) ?? [];
    if (name !== undefined) values.set(`${name}${labels}`, Number(value));
  }
  return values;
}

/** One sentence for each breach. */
export function problemsOf(text: string): string[] {
  const help = new Set([...text.matchAll(/^# HELP (\S+) \S.*$/gm)].map(([, name]) => name!));
  const types = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name!, type!]));
  const problems = [...types].flatMap(([name, type]) => namingProblems(name, type, help.has(name)));
  const seen = new Set<string>();
  for (const line of text.split('\n').filter((text) => text !== '' && !text.startsWith('#'))) {
    const [, name = '', labels = '', value] = SAMPLE.exec(line) ?? [];
    const family = types.get(name.replace(SUFFIXES, '')) === 'histogram' ? name.replace(SUFFIXES, '') : name;
    if (value === undefined || !/^([+-]?Inf|NaN|[+-]?[\d.]+(e[+-]?\d+)?)$/.test(value))
      problems.push(`no sample: ${line}`);
    else if (!types.has(family)) problems.push(`${name} has no type`);
    else if (seen.has(`${name}${labels}`)) problems.push(`${name}${labels} is there twice`);
    seen.add(`${name}${labels}`);
  }
  return problems;
}

function namingProblems(name: string, type: string, hasHelp: boolean): string[] {
  const problems: string[] = [];
  if (!hasHelp) problems.push(`${name} has no help`);
  if (/[A-Z]/.test(name)) problems.push(`${name} is not in lower case`);
  if (OTHER_UNITS.test(name)) problems.push(`${name} is not in base units`);
  if (type === 'counter' && !name.endsWith('_total')) problems.push(`counter ${name} does not end in _total`);
  if (type !== 'counter' && name.endsWith('_total')) problems.push(`${type} ${name} ends in _total`);
  if (type !== 'histogram' && SUFFIXES.test(name)) problems.push(`${type} ${name} ends like a histogram`);
  return problems;
}
