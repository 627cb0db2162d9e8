/** The strategy that a migration asked for, by its name. */
import type { MigrationOptions } from '../model/migration.ts';
import type { PageTable } from '../pages/page-table.ts';
import { createAuto } from './auto.ts';
import { createMplm } from './mplm.ts';
import { createDsm } from './dsm.ts';
import { createPostcopy } from './postcopy.ts';
import { createPrecopy } from './precopy.ts';
import type { Strategy } from './strategy.ts';

/** What strategies go by. */
export type StrategyOptions = Pick<MigrationOptions, 'strategy' | 'downtimeTargetMs' | 'maxRounds' | 'intervalMs'>;

export function createStrategy(options: StrategyOptions, table: PageTable): Strategy {
  switch (options.strategy) {
    case 'precopy':
      return createPrecopy(table, options);
    case 'mplm':
      return createMplm(table, options);
    case 'auto':
      return createAuto(table, options);
    case 'dsm':
      return createDsm(table, options);
    case 'postcopy':
      return createPostcopy(table);
  }
}
