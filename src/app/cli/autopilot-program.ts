/** The commands of the autopilot and of draining, with their options. What they do is in commands/autopilot.ts and drain.ts. */
import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import { goals } from '../../core/policy/config.ts';
import { byteSize, durationMs, wholeNumber } from './arguments.ts';
import { dryRun, showAutopilot, showAutopilotLog, turnAutopilotOff, turnAutopilotOn } from './commands/autopilot.ts';
import type { AutopilotOptions, LogOptions } from './commands/autopilot.ts';
import { drain, undrain } from './commands/drain.ts';
import type { DrainOptions } from './commands/drain.ts';
import type { CommonOptions, Console } from './console.ts';

type Frame = { readonly program: Command; readonly console: Console; readonly done: (exitCode: number) => void };

const json = new Option('--json', 'print one JSON object instead of text');

export function addAutopilotCommands({ program, console, done }: Frame): void {
  const autopilot = addSettings(
    program
      .command('autopilot')
      .description('moves VMs by itself, away from hosts that are busy; without a command: what it does now')
      .option('--dry-run', 'say what it would do, and move nothing: once, or with "on" from now on')
      .addOption(json),
  );
  autopilot.action(async (_own, command: Command) => {
    const options = command.optsWithGlobals<AutopilotOptions>();
    done(await (options.dryRun === true ? dryRun : showAutopilot)(options, console));
  });
  // The options are those of "autopilot", which takes them wherever they stand.
  autopilot
    .command('on')
    .description('turn it on, or change its settings; it stays on when the agent is restarted')
    .action(async (_own, command: Command) =>
      done(await turnAutopilotOn(command.optsWithGlobals<AutopilotOptions>(), console)),
    );
  autopilot
    .command('off')
    .description('turn it off; moves under way are finished')
    .action(async (_own, command: Command) =>
      done(await turnAutopilotOff(command.optsWithGlobals<CommonOptions>(), console)),
    );
  autopilot
    .command('status')
    .description('what it does, for which hosts, and what it decided last')
    .action(async (_own, command: Command) =>
      done(await showAutopilot(command.optsWithGlobals<CommonOptions>(), console)),
    );
  autopilot
    .command('log')
    .description('what it decided, with the reason of each decision, oldest first')
    .option('--follow', 'go on with what it decides from now on, until Ctrl-C')
    .option('--limit <n>', 'the newest so many (default: 50)', wholeNumber)
    .action(async (_own, command: Command) =>
      done(await showAutopilotLog(command.optsWithGlobals<LogOptions>(), console)),
    );
}

export function addDrainCommands({ program, console, done }: Frame): void {
  program
    .command('drain')
    .description('move every VM off a host, which takes no others until "undrain"; ends with a line per VM')
    .argument('<host>', 'this host, or one that obeys it')
    .option('--dry-run', 'say where each VM would go, and move nothing')
    .option('--at-a-time <n>', 'moves from or to one host (default: 1)', wholeNumber)
    .option('--threshold <percent>', 'no host may be used more than this afterwards (default: 65)', percent)
    .option('--memory <percent>', 'the same of memory (default: 92)', percent)
    .addOption(json)
    .action(async (host: string, _own, command: Command) =>
      done(await drain(host, command.optsWithGlobals<DrainOptions>(), console)),
    );
  program
    .command('undrain')
    .description('let a host take VMs again; what has moved stays where it is')
    .argument('<host>')
    .addOption(json)
    .action(async (host: string, _own, command: Command) =>
      done(await undrain(host, command.optsWithGlobals<CommonOptions>(), console)),
    );
}

/** Whether a value makes sense, the agent says: it knows the ranges. */
function addSettings(command: Command): Command {
  return command
    .addOption(new Option('--goal <name>', 'what for (default: threshold)').choices(goals))
    .option('--threshold <percent>', "of a host's CPU, above which VMs leave it (default: 65)", percent)
    .option('--low <percent>', 'until which they do, and which no destination passes (default: 55)', percent)
    .option('--memory <percent>', 'which no destination passes (default: 92)', percent)
    .option('--sustain <time>', 'a host has to be above for so long (default: 60s)', durationMs)
    .option('--at-a-time <n>', 'moves from or to one host (default: 1)', wholeNumber)
    .option('--vm-cooldown <time>', 'between two moves of a VM (default: 1h)', durationMs)
    .option('--host-cooldown <time>', 'between two moves from or to a host (default: 3min)', durationMs)
    .option('--return-after <time>', 'a VM does not come back sooner (default: 6h)', durationMs)
    .option('--downtime-per-hour <time>', 'of all moves of a host together (default: 3s)', durationMs)
    .option('--bytes-per-hour <size>', 'of all moves of a host together (default: 100GB)', byteSize)
    .option('--min-relief <percent>', 'a VM that uses less of its host stays (default: 2)', percent)
    .option('--max-relief <time>', 'no overload is expected to last longer (default: 1h)', durationMs)
    .option('--balance-margin <percent>', 'with goal balance: above the mean (default: 12)', percent)
    .option('--empty-below <percent>', 'with goal consolidate: hosts to be emptied (default: 25)', percent)
    .option('--max-age <time>', 'of figures that decide (default: 30s)', durationMs)
    .option('--half-life <time>', 'of averages of loads (default: 60s)', durationMs)
    .option('--measure <time>', 'how long a guest is looked at before its move is predicted (default: 3s)', durationMs)
    .option('--round <time>', 'between two rounds (default: 5s)', durationMs)
    .option('--lease <time>', 'hosts obey so long after they were last asked (default: 20s)', durationMs);
}

function percent(text: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*%?\s*$/.exec(text);
  if (match !== null) return Number(match[1]) / 100;
  throw new InvalidArgumentError(`"${text}" is not a number of per cent like 65.`);
}
