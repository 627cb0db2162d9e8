/** What is on record of a lab that is up, in `lab.json`: enough to bring it up again and to remove it after a crash. */
import { globSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { hostNames, linkNames } from './plan.ts';
import type { HostName, LabHostPlan, LabPlan } from './plan.ts';
import type { RecordedProcess } from './host-processes.ts';

const processSchema = z.object({ pid: z.int().min(2), startTicks: z.int().min(0) });
const qemuSchema = processSchema.extend({ adopted: z.boolean() });
const recordSchema = z.object({
  link: z.enum(linkNames),
  delayMs: z.number(),
  agents: z.object({ a: processSchema.nullable(), b: processSchema.nullable() }),
});

export type LabRecord = z.infer<typeof recordSchema>;

/** The record, or null where there is none or it cannot be read: then there is nothing to go by but names and folders. */
export function readRecord(plan: LabPlan): LabRecord | null {
  try {
    return recordSchema.parse(JSON.parse(readFileSync(plan.recordFile, 'utf8')));
  } catch {
    return null;
  }
}

export function writeRecord(plan: LabPlan, record: LabRecord): void {
  writeFileSync(`${plan.recordFile}.new`, `${JSON.stringify(record, null, 2)}\n`);
  renameSync(`${plan.recordFile}.new`, plan.recordFile);
}

export function recordAgent(plan: LabPlan, host: HostName, agent: RecordedProcess | null): void {
  const record = readRecord(plan);
  if (record !== null) writeRecord(plan, { ...record, agents: { ...record.agents, [host]: agent } });
}

/** The QEMUs that the host's agent started; an adopted one is its owner's. */
export function recordedQemus(host: LabHostPlan): RecordedProcess[] {
  return globSync(join(host.stateFolder, 'vms/*/state.json')).flatMap((file) => {
    try {
      const qemu = qemuSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
      return qemu.adopted ? [] : [{ pid: qemu.pid, startTicks: qemu.startTicks }];
    } catch {
      return [];
    }
  });
}

export const noAgents: LabRecord['agents'] = Object.fromEntries(
  hostNames.map((name) => [name, null]),
) as LabRecord['agents'];
