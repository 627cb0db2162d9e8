/**
 * The import walls of the project: which room may import which.
 *
 * A room is `tier/folder`. The table is ordered bottom-up and a room may only name rooms above it in the table, so a
 * cycle is impossible. Every room may import itself. A room that is not listed is an error, and so is a third-party
 * package that is not listed for the importing room.
 */
const core = ['core/base', 'core/bytes', 'core/model', 'core/vmstream', 'core/pages', 'core/strategy', 'core/wire'];
const io = ['io/log', 'io/qemu', 'io/link', 'io/lanes', 'io/journal', 'io/hoststat'];

export const layers: Readonly<Record<string, readonly string[]>> = {
  'core/base': [],
  'core/bytes': ['core/base'],
  'core/model': ['core/base'],
  'core/vmstream': ['core/base', 'core/bytes'],
  'core/pages': ['core/base'],
  'core/strategy': ['core/base', 'core/model', 'core/pages'],
  'core/predict': ['core/base', 'core/model', 'core/strategy'],
  'core/wire': ['core/base', 'core/bytes', 'core/model'],
  'core/compress': ['core/base'],
  'core/machine': ['core/base', 'core/model'],
  'core/policy': ['core/base', 'core/model'],
  'core/fleet': ['core/base', 'core/model', 'core/policy'],
  'core/api': ['core/base', 'core/model'],
  'io/log': ['core/base'],
  'io/qemu': ['core/base', 'core/bytes', 'core/model', 'core/pages', 'core/vmstream', 'io/log'],
  'io/link': ['core/base', 'core/bytes', 'core/model', 'core/wire', 'io/log'],
  'io/lanes': ['core/base', 'core/bytes', 'core/compress', 'core/pages', 'core/vmstream', 'core/wire', 'io/log'],
  'io/journal': ['core/base', 'core/bytes', 'core/model', 'io/log'],
  'io/hoststat': ['core/base', 'core/model', 'io/log'],
  'app/ferry': [...core, 'core/predict', 'core/machine', ...io],
  'app/client': ['core/base', 'core/model', 'core/api', 'io/link'],
  'app/telemetry': ['core/base', 'core/model', 'core/api', ...io, 'app/ferry', 'app/client'],
  'app/autopilot': ['core/base', 'core/model', 'core/policy', 'core/api', 'io/log', 'app/client'],
  'app/agent': [
    ...[...core, 'core/predict', 'core/machine', 'core/policy', 'core/api', ...io],
    ...['app/ferry', 'app/client', 'app/telemetry', 'app/autopilot'],
  ],
  'app/lab': ['core/base', 'core/model', 'core/api', 'io/log', 'io/link', 'io/qemu', 'app/client'],
  'app/load': ['core/base', 'app/lab'],
  // Of what lies outside of src it may use one file: the recipes of guests.
  'app/bench': [
    'core/base',
    'core/api',
    'core/compress',
    'core/model',
    'core/fleet',
    'io/hoststat',
    'io/qemu',
    'app/lab',
    'app/load',
    'guests/spec.ts',
  ],
  'app/cli': [
    'core/base',
    'core/model',
    'core/policy',
    'core/api',
    'io/link',
    'io/qemu',
    'io/log',
    'app/client',
    'app/agent',
    'app/lab',
    'app/bench',
  ],
};

/** Packages that only the named rooms may import; anything not listed here is forbidden everywhere in `src`. */
export const packages: Readonly<Record<string, readonly string[]>> = {
  zod: [
    'core/model',
    'core/wire',
    'core/api',
    'core/machine',
    'io/qemu',
    'app/agent',
    'app/cli',
    'app/lab',
    'app/bench',
    'app/ferry',
  ],
  yaml: ['app/agent', 'app/cli', 'app/lab'],
  fastify: ['app/agent'],
  undici: ['app/client', 'app/load'],
  pino: ['io/log'],
  commander: ['app/cli'],
  '@peculiar/x509': ['io/link'],
  echarts: ['app/bench'],
  'xxhash-wasm': ['io/lanes'],
  'prom-client': ['app/telemetry'],
};

export function mayImport(from: string, to: string): boolean {
  return from === to || (layers[from]?.includes(to) ?? false);
}
