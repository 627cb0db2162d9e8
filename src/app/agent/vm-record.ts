/**
 * A machine on disk: `<stateFolder>/vms/<name>/{spec,state}.json`, so that a restarted agent finds its QEMUs again.
 *
 * Each file is written beside itself, flushed and renamed: it is either the old one or the new one, also after a crash.
 * The folder is the machine's `{run}` folder as well: its sockets and logs are in it.
 */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { vmNameSchema, vmSpecSchema } from '../../core/model/vm.ts';
import type { VmSpec } from '../../core/model/vm.ts';
import { AgentError } from './errors.ts';

const stateSchema = z.strictObject({
  pid: z.int().min(1),
  startTicks: z.int().min(0),
  qmpPath: z.string(),
  qgaPath: z.string().nullable(),
  /** Versioned machine type of the running QEMU. */
  machine: z.string(),
  qemuVersion: z.string(),
  accelerator: z.enum(['kvm', 'tcg']),
  adopted: z.boolean(),
  /** The migration that brings this machine here, until it is activated. */
  incoming: z.string().nullable(),
});

/** What the agent must know of a running QEMU to find and to talk to it. */
export type VmProcess = z.infer<typeof stateSchema>;
export type VmRecord = { readonly spec: VmSpec; readonly process: VmProcess };

export class VmFolders {
  readonly #root: string;

  constructor(stateFolder: string) {
    this.#root = join(stateFolder, 'vms');
    mkdirSync(this.#root, { recursive: true, mode: 0o700 });
  }

  folderOf(name: string): string {
    return join(this.#root, vmNameSchema.parse(name));
  }

  /** An empty folder for a machine that is about to start. */
  create(name: string): string {
    const folder = this.folderOf(name);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { mode: 0o700 });
    return folder;
  }

  write(record: VmRecord): void {
    const folder = this.folderOf(record.spec.name);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeDurably(join(folder, 'spec.json'), record.spec);
    writeDurably(join(folder, 'state.json'), record.process);
  }

  remove(name: string): void {
    rmSync(this.folderOf(name), { recursive: true, force: true });
  }

  /** Every machine with both files; a folder without them belongs to a start that was cut short. */
  readAll(): VmRecord[] {
    return readdirSync(this.#root).flatMap((name) => {
      const spec = readJson(join(this.#root, name, 'spec.json'), vmSpecSchema);
      const state = readJson(join(this.#root, name, 'state.json'), stateSchema);
      return spec === null || state === null ? [] : [{ spec, process: state }];
    });
  }
}

function readJson<Schema extends z.ZodType>(file: string, schema: Schema): z.output<Schema> | null {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw unreadable(file, error);
  }
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

function unreadable(file: string, cause: unknown): AgentError {
  return new AgentError(
    'STATE_UNREADABLE',
    `Cannot read ${file}; restore it or move its folder away`,
    { file },
    { cause },
  );
}

function writeDurably(file: string, value: unknown): void {
  const next = `${file}.next`;
  const fd = openSync(next, 'w', 0o600);
  try {
    writeSync(fd, `${JSON.stringify(value, null, 2)}\n`);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(next, file);
}
