/** The paper on which guest to move away when the processors of a host are used above a threshold: cpu-findings.ts says what came of it. */
import { cpuFindings } from './cpu-findings.ts';
import { cpuMeasures } from './cpu-measures.ts';
import { kernels } from './kernel-guest.ts';
import { cellsOf } from './evidence.ts';
import type { Paper } from './paper.ts';

export const moveModes = ['vmferry-auto', 'vmferry-precopy'] as const;

export const cpuThreshold: Paper = {
  name: 'cpu-threshold',
  title: 'Performance Analysis during Live Migration',
  citation: 'Shreya R, Shruthi R, Anala M.R, Shobha G; R.V. College of Engineering, Bangalore; volume 2, issue 4, April 2013',
  about: '',
  scale: '',
  cells: cellsOf(kernels, '1gbit', moveModes),
  measures: cpuMeasures(),
  runs: 3,
  findings: cpuFindings,
};
