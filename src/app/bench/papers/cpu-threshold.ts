/** The paper on which guest to move away when the processors of a host are used above a threshold (docs/benchmarks.md). */
import { cpuFindings } from './cpu-findings.ts';
import { cpuMeasures } from './cpu-measures.ts';
import { moveLink, moveModes } from './cpu-move-findings.ts';
import { cellsOf } from './evidence.ts';
import { kernels } from './kernel-guest.ts';
import type { Paper } from './paper.ts';

export const cpuThreshold: Paper = {
  name: 'cpu-threshold',
  title: 'Performance Analysis during Live Migration',
  citation:
    'Shreya R, Shruthi R, Anala M.R, Shobha G; R.V. College of Engineering, Bangalore; volume 2, issue 4, April 2013',
  about:
    'What a guest with Dhrystone, Linpack or Livermore loops takes of the processors by its cap, memory and virtual processors (tables 1 to 3, figures 3 to 8), ' +
    'by the number of cores of the host (table 4), and how long it takes to move it (table 5, equation 1); and whether 65 % of the host is a threshold (conclusion).',
  scale:
    'The paper had Xen on hosts with four cores, caps of the Xen scheduler, 1 Gbit/s, ten trials of each point. Here a cap is a CFS quota of the control group of QEMU, ' +
    'in periods of 100 ms; uses are percent of one processor (the paper has percent of all four); all 144 points (three kernels, three memories, one and two virtual processors, eight caps) ' +
    'are measured, once each, over two seconds, the eight caps of a guest one after the other while it runs. A guest with two virtual processors runs its kernel twice. ' +
    'A host of fewer cores is one whose guests and agents are confined to these; there are as many as this machine has, four at most. ' +
    'Guests of table 4 and of the moves have 512 MB. Moves over 1 Gbit/s, three runs.',
  cells: cellsOf(kernels, moveLink, moveModes),
  measures: cpuMeasures(),
  runs: 3,
  findings: cpuFindings,
};
