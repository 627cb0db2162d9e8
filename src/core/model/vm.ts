/**
 * A virtual machine as its owner describes it (the spec), and as a host shows it (the view).
 *
 * The spec says nothing of the host that runs it: `{run}` in a string stands for the folder that the host gives the
 * machine, so that the same spec starts the incoming QEMU at the destination.
 */
import { z } from 'zod';
import { parseSizeBytes } from './units.ts';

const size = z.union([z.string(), z.number()]).transform((value, context) => {
  try {
    return parseSizeBytes(value);
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message });
    return z.NEVER;
  }
});

/** VM names become folder names and message texts: letters, digits, dot, dash and underscore. */
export const vmNameSchema = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'must be 1 to 63 letters, digits, ".", "_" or "-"');

const noComma = (what: string) =>
  z
    .string()
    .min(1)
    .regex(/^[^,\n\0]*$/, `${what} must not contain a comma or newline`);

export const diskSchema = z.strictObject({
  /** A file that both hosts see at the same path, `nbd://host:port/export` or `iscsi://host/target/lun`. */
  source: noComma('a disk source'),
  format: z.enum(['raw', 'qcow2']).default('raw'),
  readOnly: z.boolean().default(false),
  /** `none` and `directsync` bypass the host cache; the others need a file system that keeps hosts coherent. */
  cache: z.enum(['none', 'directsync', 'writeback', 'writethrough', 'unsafe']).default('none'),
});

const mac = z.string().regex(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i, 'must be a MAC address like 52:54:00:12:34:56');

export const networkSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('none') }),
  z.strictObject({
    type: z.literal('user'),
    mac: mac.optional(),
    /** QEMU hostfwd rules, for example `tcp:198.18.0.1:2222-:22`. */
    forwards: z.array(noComma('a forward')).default([]),
  }),
  z.strictObject({ type: z.literal('tap'), bridge: noComma('a bridge'), mac: mac.optional() }),
]);

const groupName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'must be 1 to 63 letters, digits, ".", "_" or "-"');

/** What the autopilot has to respect (docs/autopilot.md). */
export const placementSchema = z.strictObject({
  /** Never to be moved by it; a person may. */
  pinned: z.boolean().default(false),
  /** VMs with the same word stay on one host. */
  together: groupName.optional(),
  /** VMs with the same word never meet on one host. */
  apart: groupName.optional(),
});

export const vmSpecSchema = z.strictObject({
  name: vmNameSchema,
  /** A QEMU machine type; an alias like `q35` is resolved to a versioned type when the VM first starts. */
  machine: noComma('a machine type').default('q35'),
  cpu: z.string().min(1).default('max'),
  vcpus: z.int().min(1).max(255).default(1),
  memory: size,
  accelerator: z.enum(['auto', 'kvm', 'tcg']).default('auto'),
  kernel: noComma('a kernel path').optional(),
  initrd: noComma('an initrd path').optional(),
  cmdline: z.string().optional(),
  firmware: noComma('a firmware path').optional(),
  /** Guest RAM in a shared memory file, which is then read and written instead of /proc/PID/mem. */
  sharedMemory: z.boolean().default(false),
  disks: z.array(diskSchema).max(24).default([]),
  networks: z.array(networkSchema).max(8).default([]),
  guestAgent: z.boolean().default(true),
  placement: placementSchema.optional(),
  /** Further raw QEMU arguments; `{run}` is replaced by the host's folder of this VM. */
  qemuArguments: z.array(z.string()).default([]),
});

export type VmSpec = z.infer<typeof vmSpecSchema>;
export type DiskSpec = z.infer<typeof diskSchema>;
export type PlacementSpec = z.infer<typeof placementSchema>;
export type NetworkSpec = z.infer<typeof networkSchema>;

export const vmStates = ['starting', 'running', 'paused', 'incoming', 'migrating', 'handed over', 'gone'] as const;
export type VmState = (typeof vmStates)[number];

export type VmView = {
  readonly name: string;
  readonly state: VmState;
  readonly pid: number | null;
  readonly qemuVersion: string | null;
  readonly accelerator: 'kvm' | 'tcg' | null;
  readonly machine: string;
  readonly vcpus: number;
  readonly memoryBytes: number;
  readonly adopted: boolean;
  /** The migration that this VM takes part in, if any. */
  readonly migration: string | null;
  readonly spec: VmSpec;
  readonly runFolder: string;
};

export type HostView = {
  readonly name: string;
  readonly version: string;
  readonly qemuVersion: string | null;
  readonly memoryBytes: { readonly capacity: number; readonly used: number; readonly reserved: number };
  readonly vcpus: { readonly capacity: number; readonly used: number; readonly reserved: number };
  readonly vms: number;
  readonly peers: readonly string[];
};

/** One unmet need found before a migration, a start or by `doctor`. */
export type Problem = {
  readonly code: string;
  /** What is wrong and what to do, one or two sentences. */
  readonly message: string;
};
