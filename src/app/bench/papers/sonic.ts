/** Koto et al.'s SonicMigration: memory that the guest can do without is not sent. */
import { cellsOf } from './evidence.ts';
import type { Paper } from './paper.ts';
import { noiseCase, sonicFindings, sonicModes, sweepCase, userMemoryMb } from './sonic-findings.ts';

export const sonic: Paper = {
  name: 'sonic',
  title: 'SonicMigration: migration noise, and pruning the memory to be transferred',
  citation: 'A. Koto, H. Yamada, K. Ohmura, K. Kono; Keio University and NTT',
  about:
    'Figures 1 and 2: throughput and processor time of two co-located mail servers while one of them is moved. Figure 3: migration time and ' +
    "pages transferred by the memory that the guest's user has taken. QEMU's pre-copy is the default migration, vmferry with --prune soft is " +
    'SonicMigration; vmferry with --prune none says what is due to pruning alone.',
  scale:
    'Guests of 3 GiB with 700 MB of file cache and 0 to 2000 MB of user memory (the paper: 2 GB, whose free memory was all filled with cache), ' +
    "so that 2000 MB fit; QEMU finds the guest's untouched memory to be zero, Xen sent it. For the noise: a guest of 1 GiB with 700 MB of cache and one " +
    'of 256 MiB, each with a mail server as fast as it can (the paper: 2 GB each, rates given). 1 Gbit/s as in the paper, but both hosts and both guests ' +
    'share the processors of one machine.',
  cells: [
    ...cellsOf([noiseCase], '1gbit', sonicModes),
    ...userMemoryMb.flatMap((mb) => cellsOf([sweepCase(mb)], '1gbit', sonicModes)),
  ],
  runs: 1,
  wantsSeries: true,
  findings: sonicFindings,
};
