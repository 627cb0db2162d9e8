import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cpuProblems, machineProblems } from './admission.ts';
import { parseCpuHelp } from './qemu-driver.ts';
import { sampleSpec } from './testing.ts';

const help72 = `Available CPUs:
x86 486                   (alias configured by machine type)
x86 486-v1                
x86 qemu64                (alias of qemu64-v1)

Recognized CPUID flags:
  3dnow 3dnowext
`;
const help10 = `Available CPUs:
  486                   (alias configured by machine type)
  EPYC-v1               AMD EPYC Processor

Recognized CPUID flags:
  3dnow 3dnowext
`;

test('CPU models are read from the help of old and new QEMUs', () => {
  assert.deepEqual([...parseCpuHelp(help72)], ['486', '486-v1', 'qemu64']);
  assert.deepEqual([...parseCpuHelp(help10)], ['486', 'EPYC-v1']);
});

const facts = {
  version: '8.2.1',
  machines: [{ name: 'pc-q35-8.2', alias: 'q35' }],
  cpus: new Set(['EPYC']),
};
const machineCodes = (machine: string) => machineProblems(machine, facts, 'b').map(({ code }) => code);

test('a machine type is known by name or alias; a newer one asks for a newer QEMU', () => {
  assert.deepEqual(machineCodes('pc-q35-8.2'), []);
  assert.deepEqual(machineCodes('q35'), []);
  assert.deepEqual(machineCodes('pc-q35-10.0'), ['QEMU_TOO_OLD']);
  assert.deepEqual(machineCodes('pc-q35-8.3'), ['QEMU_TOO_OLD']);
  assert.deepEqual(machineCodes('pc-q35-2.0'), ['MACHINE_UNKNOWN'], 'dropped since');
  assert.deepEqual(machineCodes('toaster'), ['MACHINE_UNKNOWN']);
});

test('a CPU model is known by its name, whatever flags follow', () => {
  const codes = (cpu: string) => cpuProblems(sampleSpec({ cpu }), facts, 'b').map(({ code }) => code);
  assert.deepEqual(codes('EPYC,+avx2'), []);
  assert.deepEqual(codes('max'), []);
  assert.deepEqual(codes('Z80'), ['CPU_UNKNOWN']);
});
