import type { Paper } from './paper.ts';

export const mplm: Paper = {
  name: 'mplm',
  title:
    'Efficient Pre-Copy Live Migration of Virtual Machines for High Performance Computing in Cloud Computing Environments',
  citation: 'K. Chanchio, J. Yaothanee; Thammasat University',
  about: '',
  scale: '',
  cells: [],
  runs: 1,
  findings: () => ({ claims: [], tables: [], charts: [] }),
};
