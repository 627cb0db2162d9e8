/** What the paper on a CPU threshold has in numbers: its tables 1 to 5. Figures 3 to 8 are bars without numbers. */
import type { Kernel } from './kernel-guest.ts';

/** Its machine; uses in tables 1 to 3 are percent of all four. */
export const PAPER_CORES = 4;

/** Tables 1 to 3, column "Avg": Livermore loops, one virtual processor, by memory, for caps of 25, 50, ... 200 %. */
export const paperCaps: Readonly<Record<number, readonly number[]>> = {
  512: [6.235, 12.502, 18.739, 24.805, 24.838, 24.85, 25.238, 24.941],
  1024: [6.253, 12.505, 18.773, 24.793, 24.841, 24.838, 24.847, 24.844],
  2048: [6.244, 12.486, 18.775, 24.838, 24.841, 24.841, 24.841, 24.838],
};

/** Table 4: means of ten trials, percent of one processor, on a machine booted with one to four cores. */
export const paperCores: Readonly<Record<Kernel, readonly number[]>> = {
  dhrystone: [93.35, 99.95, 100.1, 99.75],
  livermore: [57.69, 94.06, 99.36, 100.2],
  linpack: [95.05, 99.6, 99.95, 99.95],
};

/** Table 5, seconds. */
export const paperMoves: Readonly<Record<Kernel, { readonly totalS: number; readonly downtimeS: number }>> = {
  livermore: { totalS: 63, downtimeS: 18 },
  dhrystone: { totalS: 64, downtimeS: 28 },
  linpack: { totalS: 64, downtimeS: 19 },
};

/** Which guest to move first, below table 5. */
export const paperPreference: readonly Kernel[] = ['livermore', 'linpack', 'dhrystone'];

/** Conclusion: of all processors together. */
export const PAPER_THRESHOLD_PERCENT = 65;
