/** Pre-copy with lossless compression of the pages: when it pays. */
import { linkNames } from '../../lab/plan.ts';
import { compressionFindings, methodCases, movedCase, movedModes } from './compression-findings.ts';
import { cellsOf } from './evidence.ts';
import { methodsMeasure } from './page-methods.ts';
import type { Paper } from './paper.ts';

export const compression: Paper = {
  name: 'compression',
  title: 'Pre-copy Based Live Migration Using Lossless Compression Algorithm',
  citation:
    '"Live virtual machine migration based on pre-copy with a lossless compression algorithm"; a design without measurements',
  about:
    'The paper says that compression pays if it is quick enough, and measures nothing. Here: ratio and speed of methods on the pages of ' +
    'real guests, total time, downtime and bytes by method and rate of the link, and the break-even: the rate of the link from which on sending pages ' +
    'as they are is quicker.',
  scale:
    'A guest of 512 MiB that holds 256 MB of files in its cache, moved by vmferry-precopy without pruning and deltas, so that compression is ' +
    "all that differs, and by QEMU's multifd without and with zstd; links of 100 Mbit/s, 1 and 10 Gbit/s. Methods are measured on one thread, on at most 64 MiB of " +
    'pages that are not zero. Both hosts, the guest and the link share the processors of one machine.',
  cells: linkNames.flatMap((link) => cellsOf([movedCase], link, movedModes)),
  measures: methodCases.map(methodsMeasure),
  runs: 1,
  findings: compressionFindings,
};
