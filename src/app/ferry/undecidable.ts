/** Whether a person may settle a migration at its destination, where nobody else can: in doubt, or with its source lost. */
import type { DestinationState } from '../../core/machine/destination-states.ts';
import { formatMs } from '../../core/model/units.ts';

/** A source that lives dials again every second. Before this time nobody can say that it is lost. */
const LOST_AFTER_MS = 10_000;

export type Undecided = {
  readonly stateName: DestinationState['name'];
  readonly vm: string;
  readonly source: string;
  /** Since the source was connected last; null while it is. */
  readonly silentMs: number | null;
};

/** Why this word is refused, for people; null when it is not. */
export function whyUndecidable(word: 'run' | 'discard', { stateName, vm, source, silentMs }: Undecided): string | null {
  if (stateName === 'inDoubt') return null;
  if (stateName !== 'pulling' && stateName !== 'lost')
    return `Nothing is to be decided about VM "${vm}": its migration to here is ${stateName}`;
  if (word === 'run') return `VM "${vm}" was started here already; "discard" is the only word that is left`;
  if (stateName === 'lost') return null;
  if (silentMs === null)
    return `VM "${vm}" gets its pages from host "${source}", which is connected: nothing is to be given up`;
  if (silentMs >= LOST_AFTER_MS) return null;
  const heard = `Host "${source}", which has the missing pages of VM "${vm}", has been silent for ${formatMs(silentMs)} only`;
  return `${heard}: it may come back; say it again when that is more than ${formatMs(LOST_AFTER_MS)}`;
}
