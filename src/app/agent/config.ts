/**
 * The configuration file of an agent (docs/agent.md). Paths in it are relative to the file.
 *
 * Everything is checked at once, and every complaint names the field.
 */
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { describeIssues } from '../../core/api/issues.ts';
import { hostNameSchema } from '../../core/api/schemas.ts';
import { parseSizeBytes } from '../../core/model/units.ts';
import { PolicyError } from '../../core/policy/errors.ts';
import { logLevels } from '../../io/log/logger.ts';
import { autopilotSettings } from '../autopilot/settings.ts';
import { AgentError } from './errors.ts';
import { CONFIG_BYTES_MAX, SOCKET_PATH_BYTES_MAX } from './limits.ts';

const path = z.string().min(1);
const port = z.int().min(1).max(65_535);
const address = z.string().min(1);
const bytes = z.union([z.string(), z.number()]).transform((value, context) => {
  try {
    return parseSizeBytes(value);
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message });
    return z.NEVER;
  }
});
/** Processors that a host owns of its machine, which others use, too. */
const cores = z.number().min(0.01).max(4096);
const portRange = z.string().transform((text, context) => {
  const match = /^\s*(\d{1,5})\s*-\s*(\d{1,5})\s*$/.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2]);
  if (match !== null && first >= 1 && last <= 65_535 && first <= last) return { first, last };
  context.addIssue({ code: 'custom', message: `"${text}" is not a range of ports like 7450-7513` });
  return z.NEVER;
});

/** Settings are the autopilot's own, with their names and ranges (docs/autopilot.md). */
const autopilotSchema = z
  .looseObject({
    /** Hosts whose autopilots may move VMs away from here, by the name in their certificate. */
    obey: z.array(hostNameSchema).default([]),
  })
  .superRefine(({ obey: _obey, ...settings }, context) => {
    try {
      autopilotSettings(settings);
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error;
      const path = [String(error.fields['field'])];
      context.addIssue({ code: 'custom', path, message: error.message });
    }
  });

const configSchema = z
  .strictObject({
    /** The host's name: the one in its certificate. */
    name: hostNameSchema,
    stateFolder: path.default('/var/lib/vmferry'),
    socket: path.default('/run/vmferry/agent.sock'),
    listen: z.strictObject({ address: address.default('0.0.0.0'), port: port.default(7443) }).prefault({}),
    lanes: z.strictObject({ address: address.default('0.0.0.0'), ports: portRange.prefault('7450-7513') }).prefault({}),
    tls: z.strictObject({ cert: path, key: path, ca: path }),
    /** Hosts whose migrations are accepted, by the name in their certificate. */
    trust: z.array(hostNameSchema).default([]),
    /** Hosts to which this one can send, by the name in their certificate. */
    peers: z.record(hostNameSchema, z.strictObject({ host: address, port: port.default(7443) })).default({}),
    qemu: z.strictObject({ binary: path.default('qemu-system-x86_64'), img: path.default('qemu-img') }).prefault({}),
    /** What this host offers to guests; what is not given is taken from the machine. */
    capacity: z
      .strictObject({ memory: bytes.optional(), vcpus: z.int().min(1).optional(), cores: cores.optional() })
      .prefault({}),
    /** Where figures for Prometheus are served besides the unix socket; nobody is asked who he is there. */
    metrics: z.strictObject({ address, port }).optional(),
    autopilot: autopilotSchema.prefault({}),
    accelerator: z.enum(['auto', 'kvm', 'tcg']).default('auto'),
    log: z.strictObject({ level: z.enum(logLevels).default('info'), file: path.optional() }).prefault({}),
  })
  .superRefine((config, context) => {
    const complain = (at: string[], message: string): void => context.addIssue({ code: 'custom', path: at, message });
    if (config.name in config.peers) complain(['peers', config.name], 'is this host itself');
    const { first, last } = config.lanes.ports;
    if (config.listen.port >= first && config.listen.port <= last) {
      complain(['listen', 'port'], `${config.listen.port} lies within lanes.ports ${first}-${last}`);
    }
  });

export type AgentConfig = z.infer<typeof configSchema>;

/** Reads and checks a configuration file. Throws AgentError CONFIG_UNREADABLE or CONFIG_INVALID. */
export function loadConfig(file: string): AgentConfig {
  let text: string;
  try {
    if (statSync(file).size > CONFIG_BYTES_MAX) throw new Error(`larger than ${CONFIG_BYTES_MAX} bytes`);
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new AgentError('CONFIG_UNREADABLE', `Cannot read the configuration ${file}`, { file }, { cause });
  }
  return parseConfig(text, file);
}

/** Checks the text of a configuration; `file` is where it stands. Throws AgentError CONFIG_INVALID. */
export function parseConfig(text: string, file: string): AgentConfig {
  let value: unknown;
  try {
    value = parseYaml(text);
  } catch (cause) {
    throw new AgentError('CONFIG_INVALID', `The configuration ${file} is not YAML`, { file }, { cause });
  }
  const parsed = configSchema.safeParse(value);
  if (!parsed.success) throw invalid(file, describeIssues(parsed.error, 'the configuration'));
  const config = withAbsolutePaths(parsed.data, dirname(resolve(file)));
  if (Buffer.byteLength(config.socket) > SOCKET_PATH_BYTES_MAX) {
    throw invalid(file, [`socket: is longer than the ${SOCKET_PATH_BYTES_MAX} bytes that a unix socket may have`]);
  }
  return config;
}

function invalid(file: string, issues: string[]): AgentError {
  return new AgentError('CONFIG_INVALID', `The configuration ${file} is invalid: ${issues.join('; ')}`, {
    file,
    issues,
  });
}

function withAbsolutePaths(config: AgentConfig, folder: string): AgentConfig {
  const at = (path: string): string => resolve(folder, path);
  /** A bare program name is looked up in PATH. */
  const program = (path: string): string => (path.includes('/') ? at(path) : path);
  return {
    ...config,
    stateFolder: at(config.stateFolder),
    socket: at(config.socket),
    tls: { cert: at(config.tls.cert), key: at(config.tls.key), ca: at(config.tls.ca) },
    qemu: { binary: program(config.qemu.binary), img: program(config.qemu.img) },
    log: { ...config.log, ...(config.log.file !== undefined && { file: at(config.log.file) }) },
  };
}
