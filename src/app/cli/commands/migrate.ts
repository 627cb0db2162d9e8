/** `vmferry migrate VM HOST`: asks the agent, shows progress, handles Ctrl-C, prints the report. */
import type { Command } from 'commander';
import type { AgentClient } from '../../client/agent-client.ts';
import type { MigrationReport, MigrationView } from '../../../core/model/migration.ts';
import type { Prediction } from '../../../core/model/prediction.ts';
import {
  compressModes,
  defaultMigrationOptions,
  deltaModes,
  pruneModes,
  strategyNames,
} from '../../../core/model/migration.ts';
import { describeError } from '../../../core/base/errors.ts';
import { Option } from 'commander';
import { bytesPerSecond, byteSize, durationMs, wholeNumber } from '../arguments.ts';
import { withAgent } from '../console.ts';
import type { CommonOptions, Console } from '../console.ts';
import { exitCodeOfReport, exitCodes } from '../exit-codes.ts';
import type { ExitCode } from '../exit-codes.ts';
import { LiveDisplay } from '../live-display.ts';
import { outcomeText } from '../migration-words.ts';
import { expectedText } from '../prediction-text.ts';
import { renderReport } from '../summary.ts';

export type MigrateOptions = CommonOptions & {
  readonly strategy?: (typeof strategyNames)[number];
  readonly prune?: (typeof pruneModes)[number];
  readonly keepCache?: boolean;
  readonly dropSlabs?: boolean;
  readonly warmUp?: boolean;
  readonly compress?: (typeof compressModes)[number];
  readonly delta?: (typeof deltaModes)[number];
  readonly deltaCache?: number;
  readonly lanes?: number;
  readonly maxBandwidth?: number;
  readonly downtime?: number;
  readonly maxRounds?: number;
  readonly interval?: number;
  readonly verify?: boolean;
  readonly pull?: boolean;
  readonly stallTimeout?: number;
  readonly events?: boolean;
  readonly plan?: boolean;
};

export function addMigrateOptions(command: Command): Command {
  return addMoveOptions(command)
    .option('--plan', 'look at the guest for a moment before, and say what to expect (default: on a terminal)')
    .option('--no-plan', 'begin at once')
    .option('--verify', 'compare all memory that the guest needs on both sides while it is stopped')
    .option(
      '--stall-timeout <time>',
      `abort when nothing moves for so long (default: ${defaultMigrationOptions.stallTimeoutMs / 1000}s)`,
      durationMs,
    )
    .option('--json', 'print the report as one JSON object')
    .option('--events', 'print every view and the report as JSON lines (with --json: on standard error)');
}

/** What decides how a guest travels. */
export function addMoveOptions(command: Command): Command {
  const { downtimeTargetMs, maxRounds, intervalMs, strategy, prune, compress, delta } = defaultMigrationOptions;
  return command
    .addOption(
      new Option('--strategy <name>', `which pages when, and when to stop the guest (default: ${strategy})`).choices(
        strategyNames,
      ),
    )
    .addOption(
      new Option('--prune <mode>', `pages not to send: unused ones, or file cache too (default: ${prune})`).choices(
        pruneModes,
      ),
    )
    .option('--keep-cache', 'with soft: let the guest keep the file cache that it used lately, and send it')
    .option('--drop-slabs', 'with soft: let the guest drop its caches of file names, too')
    .option('--warm-up', 'with soft: let the guest read the files of its cache again when it has arrived')
    .addOption(new Option('--compress <mode>', `of pages (default: ${compress})`).choices(compressModes))
    .addOption(
      new Option('--delta <on|off>', `pages sent again as what changed in them (default: ${delta})`).choices(
        deltaModes,
      ),
    )
    .addOption(new Option('--delta-cache <size>', 'memory for that at the source').argParser(byteSize).hideHelp())
    .option('--lanes <n>', 'connections and worker threads (default: half of the processors, at most 4)', wholeNumber)
    .option(
      '--max-bandwidth <rate>',
      'of all lanes together, like 500mbit or 50MB/s (default: the link)',
      bytesPerSecond,
    )
    .option('--downtime <time>', `target, like 300ms (default: ${downtimeTargetMs}ms)`, durationMs)
    .option('--max-rounds <n>', `of pre-copy before the guest is stopped anyway (default: ${maxRounds})`, wholeNumber)
    .option(
      '--interval <time>',
      `of strategy mplm, between two dirty syncs (default: ${intervalMs / 1000}s)`,
      durationMs,
    )
    .option('--pull', 'the guest may run at the destination before all of its pages are there (dsm, postcopy)')
    .option('--no-pull', 'never (default, except for postcopy, which is nothing else)');
}

export async function migrate(
  vm: string,
  destination: string,
  options: MigrateOptions,
  console: Console,
): Promise<ExitCode> {
  return await withAgent(console, options, async (client) => {
    const interrupt = new Interrupt(client, vm, console);
    const isPlanned = wantsPlan(options, console);
    try {
      const started = await client.call('startMigration', {
        body: { vm, destination, options: requestOptions(options), ...(isPlanned && { plan: true }) },
      });
      await interrupt.started(started);
      if (started.predicted !== null) sayExpected(started.predicted, options, console);
      const report = await follow(client, started, options, { console, interrupt });
      printReport(report, options, console);
      return exitCodeOfReport(report, interrupt.asked);
    } finally {
      interrupt.close();
    }
  });
}

/** Programs are not kept waiting for what nobody reads. */
function wantsPlan({ plan: isWanted, json, events }: MigrateOptions, console: Console): boolean {
  return isWanted ?? (json !== true && events !== true && console.screen.width() !== null);
}

/** A program finds it in the report. */
function sayExpected(prediction: Prediction, { json, events }: MigrateOptions, console: Console): void {
  if (json !== true && events !== true) console.remark(`${expectedText(prediction)}.`);
}

/** Those that were given, as a request has them. */
export function requestOptions(options: MigrateOptions): object {
  const { strategy, prune, keepCache, dropSlabs, warmUp, compress, delta, lanes, maxRounds, verify, pull } = options;
  const given = {
    strategy,
    prune,
    keepCache,
    dropSlabs,
    warmUp,
    compress,
    delta,
    deltaCacheBytes: options.deltaCache,
    lanes,
    maxRounds,
    verify,
    intervalMs: options.interval,
    pull,
    maxBandwidthBytesPerSecond: options.maxBandwidth,
    downtimeTargetMs: options.downtime,
    stallTimeoutMs: options.stallTimeout,
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

type Following = { readonly console: Console; readonly interrupt: Interrupt };

async function follow(
  client: AgentClient,
  { id, vm }: MigrationView,
  options: MigrateOptions,
  { console, interrupt }: Following,
): Promise<MigrationReport> {
  const display = new LiveDisplay(console.screen);
  interrupt.remark = (text) => display.note(text);
  const quiet = options.events === true || options.json === true;
  const printEvent = options.json === true ? console.remark : console.print;
  let report: MigrationReport | null = null;
  try {
    for await (const event of client.events(id)) {
      if (event.type === 'report') report = event.report;
      if (options.events === true) printEvent(JSON.stringify(event));
      else if (event.type === 'view' && (!quiet || console.screen.width() !== null)) display.show(event.view);
    }
  } catch (error) {
    display.note(
      `The agent was lost while VM "${vm}" was being moved (migration ${id}): when it is back, look with "vmferry show ${id}".`,
    );
    throw error;
  }
  display.clear();
  // The client throws when the stream ends without a report.
  return report as MigrationReport;
}

function printReport(report: MigrationReport, options: MigrateOptions, console: Console): void {
  if (options.json === true) console.print(JSON.stringify(report, null, 2));
  else if (options.events !== true) for (const line of renderReport(report)) console.print(line);
  if (report.outcome !== 'completed' && (options.json === true || options.events === true)) {
    console.remark(outcomeText(report));
  }
}

/** First Ctrl-C: asks the engine to abort. Second: leaves; the engine goes on aborting. */
class Interrupt {
  remark: (text: string) => void;
  readonly #client: AgentClient;
  readonly #vm: string;
  readonly #console: Console;
  readonly #off: () => void;
  #count = 0;
  #id: string | null = null;

  constructor(client: AgentClient, vm: string, console: Console) {
    this.#client = client;
    this.#vm = vm;
    this.#console = console;
    this.remark = console.remark;
    this.#off = console.onInterrupt(() => this.#interrupted());
  }

  get asked(): boolean {
    return this.#count > 0;
  }

  /** A Ctrl-C during the checks takes effect as soon as there is something to abort. */
  async started(view: MigrationView): Promise<void> {
    this.#id = view.id;
    if (this.asked) await this.#cancel(view.id);
  }

  close(): void {
    this.#off();
  }

  #interrupted(): void {
    this.#count++;
    if (this.#count === 1) {
      if (this.#id === null) this.remark('Giving up before the start.');
      else void this.#cancel(this.#id);
      return;
    }
    const look = this.#id === null ? '"vmferry status"' : `"vmferry show ${this.#id}"`;
    this.remark(`Left. The agent goes on with the abort of VM "${this.#vm}"; see ${look} for where the guest is.`);
    this.#console.leave(exitCodes.interrupted);
  }

  async #cancel(id: string): Promise<void> {
    try {
      const { accepted } = await this.#client.call('cancelMigration', { params: { id } });
      this.remark(
        accepted
          ? 'Asked for an abort; waiting until the guest is known to run at the source. Ctrl-C again leaves.'
          : 'It is too late for an abort: the migration is committed and is being finished.',
      );
    } catch (error) {
      this.remark(`The abort could not be asked for: ${describeError(error)}`);
    }
  }
}
