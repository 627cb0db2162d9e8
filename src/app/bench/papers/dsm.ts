/** Daradkeh and Agarwal's DSM migration: pages of low dirty rate before, the others around the switchover. */
import { cellsOf } from './evidence.ts';
import type { Paper } from './paper.ts';
import { dsmFindings, dsmModes, workloads } from './dsm-findings.ts';

export const dsm: Paper = {
  name: 'dsm',
  title: 'Distributed Shared Memory based Live VM Migration',
  citation: 'T. Daradkeh, A. Agarwal; Concordia University',
  about:
    'Figure 4: total time and downtime with and without DSM, of an idle guest and of guests with work for the CPU, the memory and the ' +
    'network. Figures 5 to 12: traffic and processor time of the guest over time, through the migration. "Without" is ' +
    'vmferry-precopy, "with" is vmferry-dsm (cold pages before, hot ones after the switchover); QEMU\'s pre-copy stands beside them.',
  scale:
    "The link has the paper's 100 Mbit/s, but is not held at 12 Mbit/s. One Linux guest of 512 MiB with one virtual processor, in software " +
    'emulation if the machine has no KVM, instead of Windows 7 and Ubuntu 12 under Xen. The work: Dhrystone for compiling, a multigrid solver on ' +
    '64 MiB (mg) for playing video, an echo service with 2 MB/s each way over 4 connections for a web server. One run instead of six, ' +
    'unless --runs says otherwise.',
  cells: cellsOf(
    workloads.map(({ name }) => name),
    '100mbit',
    dsmModes,
  ),
  runs: 1,
  wantsSeries: true,
  findings: dsmFindings,
};
