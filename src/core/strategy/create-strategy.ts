/** The strategy that a migration asked for, by its name. */
import type { MigrationOptions } from '../model/migration.ts';
import type { PageTable } from '../pages/page-table.ts';
import { createDsm } from './dsm.ts';
import { createPostcopy } from './postcopy.ts';
import { createPrecopy } from './precopy.ts';
import type { Strategy } from './strategy.ts';

/** What strategies go by. */
export type StrategyOptions = Pick<MigrationOptions, 'strategy' | 'downtimeTargetMs' | 'maxRounds'>;

export function createStrategy(options: StrategyOptions, table: PageTable): Strategy {
  switch (options.strategy) {
    case 'precopy':
      return createPrecopy(table, options);
    case 'dsm':
      return createDsm(table, options);
    case 'postcopy':
      return createPostcopy(table);
  }
}
