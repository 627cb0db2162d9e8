/** Chanchio and Yaothanee's MPLM: never-dirtied and dirtied pages in turn, stop when the former are through. */
import { dirtyRateMeasure } from './dirty-rate.ts';
import { cellsOf } from './evidence.ts';
import { downtimeLimitsMs, kernels, fullMode, limitMode, mplmFindings, plainMode, rateCases } from './mplm-findings.ts';
import type { Paper } from './paper.ts';

export const mplm: Paper = {
  name: 'mplm',
  title: 'Efficient Pre-Copy Live Migration of Virtual Machines for High Performance Computing',
  citation: 'K. Chanchio, J. Yaothanee; Thammasat University',
  about:
    "Figure 4: per kernel, total time and downtime of QEMU's pre-copy by the maximum downtime that it is allowed, as a line, and MPLM's as a " +
    'point. Table I: downtime by dirty rate. "MPLM" is the paper\'s: vmferry-mplm without pruning, deltas and compression; vmferry-mplm with them ' +
    'stands beside it.',
  scale:
    'Kernels of 64 MiB in guests of 512 MiB with one virtual processor on 100 Mbit/s, for class C in 8 GiB with 8 on 1 Gbit/s. Table I says how many ' +
    'pages they write for each that the link carries; in the paper 1.1 to 6.8. What they write to takes ' +
    "the link 5.4 s, about a fifth of the paper's MG. So the maximum downtimes are 0.3 (QEMU's default, not scaled), 1, 3 and 6 s for the paper's 0.3 to " +
    '60 s; 6 s is more than all that the kernel writes to, so longer ones are the same. A migration that has not ended after --timeout (60 s) is ' +
    'given up: "does not end".',
  cells: [
    ...kernels.flatMap((name) => cellsOf([name], '100mbit', [...downtimeLimitsMs.map(limitMode), plainMode, fullMode])),
    ...cellsOf(['linpack'], '100mbit', [limitMode(300), plainMode, fullMode]),
  ],
  measures: rateCases.map(dirtyRateMeasure),
  runs: 1,
  findings: mplmFindings,
};
