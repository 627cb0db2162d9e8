/** The command line: every command, its options and its help. What they do is in commands/. */
import { Argument, Command, Option } from 'commander';
import { packageVersion } from '../agent/package-version.ts';
import { durationMs, nameList, wholeNumber } from './arguments.ts';
import { addAutopilotCommands, addDrainCommands } from './autopilot-program.ts';
import { defaultSocket } from './console.ts';
import { setNames } from '../bench/set-names.ts';
import type { CommonOptions, Console } from './console.ts';
import { exitCodeTexts } from './exit-codes.ts';
import { addMigrateOptions, addMoveOptions, migrate } from './commands/migrate.ts';
import type { MigrateOptions } from './commands/migrate.ts';
import { plan } from './commands/plan.ts';
import type { PlanOptions } from './commands/plan.ts';
import { cancelMigration, resolveMigration, showHistory, showMigration, showStatus } from './commands/status.ts';
import type { ShowOptions, HistoryOptions } from './commands/status.ts';
import type { TopOptions } from './commands/top.ts';
import { adoptVm, listVms, showVm, startVm, stopVm } from './commands/vm.ts';
import type { AdoptOptions, StopOptions } from './commands/vm.ts';

const PKI_DAYS_DEFAULT = 825;
const BENCH_TIMEOUT_MS = 60_000;

const json = new Option('--json', 'print one JSON object instead of text');

/** `done` gets the exit code of the command that ran. */
export function createProgram(console: Console, done: (exitCode: number) => void): Command {
  const program = new Command('vmferry')
    .description('Moves running QEMU virtual machines between hosts: stock QEMU, unchanged guests, short downtime.')
    .version(packageVersion())
    .addOption(
      new Option('--socket <path>', 'unix socket of the agent to talk to').env('VMFERRY_SOCKET').default(defaultSocket),
    )
    .showHelpAfterError('(add --help for the arguments)')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => console.print(text.trimEnd()),
      writeErr: (text) => console.remark(text.trimEnd()),
    })
    .addHelpText('after', epilogue);
  const frame = { program, console, done };
  addMigrationCommands(frame);
  addResolveCommand(frame);
  addVmCommands(frame);
  addAutopilotCommands(frame);
  addDrainCommands(frame);
  addHostCommands(frame);
  addLabCommands(frame);
  addBenchCommand(frame);
  return program;
}

const epilogue = `
A first migration, from the host that runs the guest:
  vmferry vm start web.yaml            start a machine from its spec
  vmferry plan web host-b              what moving it would take
  vmferry migrate web host-b           move it, with live progress
  vmferry history                      what was moved, how long it took

Both hosts need an agent ("vmferry agent --config FILE") and certificates ("vmferry pki").
No second host at hand? "vmferry lab up" makes two on this machine.

Exit codes:
${exitCodeTexts.map(([code, text]) => `  ${String(code).padStart(3)}  ${text}`).join('\n')}
`;

type Frame = { readonly program: Command; readonly console: Console; readonly done: (exitCode: number) => void };

function addMigrationCommands({ program, console, done }: Frame): void {
  addMigrateOptions(
    program.command('migrate').description('move a running VM to another host').argument('<vm>').argument('<host>'),
  ).action(async (vm: string, host: string, _own, command: Command) =>
    done(await migrate(vm, host, command.optsWithGlobals<MigrateOptions>(), console)),
  );
  addMoveOptions(
    program
      .command('plan')
      .description('what moving a VM would take, by each strategy; moves nothing')
      .argument('<vm>')
      .argument('<host>')
      .option('--measure <time>', 'how long to look at the guest, from 200ms to 60s (default: 3s)', durationMs)
      .addOption(json),
  ).action(async (vm: string, host: string, _own, command: Command) =>
    done(await plan(vm, host, command.optsWithGlobals<PlanOptions>(), console)),
  );
  program
    .command('status')
    .description('the host and its migrations in progress')
    .addOption(json)
    .action(async (_own, command: Command) =>
      done(await showStatus(command.optsWithGlobals<CommonOptions>(), console)),
    );
  program
    .command('top')
    .description('what the host and its VMs do, live; q ends it')
    .option('--once', 'print one screen (also where there is no terminal)')
    .addOption(json)
    .action(async (_own, command: Command) =>
      done(await (await import('./commands/top.ts')).top(command.optsWithGlobals<TopOptions>(), console)),
    );
  program
    .command('cancel')
    .description('abort a migration; the guest goes on at the source')
    .argument('<id>')
    .addOption(json)
    .action(async (id: string, _own, command: Command) =>
      done(await cancelMigration(id, command.optsWithGlobals<CommonOptions>(), console)),
    );
  program
    .command('history')
    .description('ended migrations from this host, newest first')
    .option('--limit <n>', 'at most so many (default: 50)', wholeNumber)
    .option('--vm <name>', 'only of this VM')
    .addOption(json)
    .action(async (_own, command: Command) =>
      done(await showHistory(command.optsWithGlobals<HistoryOptions>(), console)),
    );
  program
    .command('show')
    .description('one migration, in progress or ended')
    .argument('<id>')
    .option('--pages', 'the directory of its pages: how many are in which state, and which host has them')
    .addOption(json)
    .action(async (id: string, _own, command: Command) =>
      done(await showMigration(id, command.optsWithGlobals<ShowOptions>(), console)),
    );
}

function addResolveCommand({ program, console, done }: Frame): void {
  program
    .command('resolve')
    .description('decide about a migration in doubt, for this host: "run" the guest here, or "discard" what is here')
    .argument('<id>')
    .addArgument(new Argument('<word>').choices(['run', 'discard']))
    .addOption(json)
    .addHelpText('after', resolveHelp)
    .action(async (id: string, word: 'run' | 'discard', _own, command: Command) =>
      done(await resolveMigration(id, word, command.optsWithGlobals<CommonOptions>(), console)),
    );
}

const resolveHelp = `
Only for a migration whose other host cannot be reached any more. Saying "run" at a host while
the guest runs, or may come back, at the other one makes two guests write to the same disks:
make sure first that the other host is off or its QEMU is gone.`;

function addVmCommands({ program, console, done }: Frame): void {
  const vm = program.command('vm').description('the virtual machines of this host');
  vm.command('start')
    .description('start a VM from its spec (YAML or JSON)')
    .argument('<file>')
    .addOption(json)
    .action(async (file: string, _own, command: Command) =>
      done(await startVm(file, command.optsWithGlobals<CommonOptions>(), console)),
    );
  vm.command('stop')
    .description('power a VM off and forget it')
    .argument('<name>')
    .option('--force', 'end QEMU at once, like pulling the plug')
    .option('--grace <time>', 'how long the guest may take to power off (default: 60s)', durationMs)
    .addOption(json)
    .action(async (name: string, _own, command: Command) =>
      done(await stopVm(name, command.optsWithGlobals<StopOptions>(), console)),
    );
  vm.command('list')
    .description('all VMs of this host')
    .addOption(json)
    .action(async (_own, command: Command) => done(await listVms(command.optsWithGlobals<CommonOptions>(), console)));
  vm.command('show')
    .description('one VM')
    .argument('<name>')
    .addOption(json)
    .action(async (name: string, _own, command: Command) =>
      done(await showVm(name, command.optsWithGlobals<CommonOptions>(), console)),
    );
  vm.command('adopt')
    .description('take over a QEMU that someone else started')
    .argument('<name>')
    .requiredOption('--qmp <socket>', 'its QMP monitor, which nobody else may hold open')
    .option('--qga <socket>', 'its guest agent')
    .requiredOption('--spec <file>', 'a spec that describes it, from which the destination starts its twin')
    .addOption(json)
    .action(async (name: string, _own, command: Command) =>
      done(await adoptVm(name, command.optsWithGlobals<AdoptOptions>(), console)),
    );
}

/** Commands that need more than a connection load it when they run: `vmferry vm list` starts in half the time. */
function addHostCommands({ program, console, done }: Frame): void {
  program
    .command('agent')
    .description('run the daemon of this host until SIGTERM; guests outlive it')
    .requiredOption('--config <file>', 'its configuration (docs/agent.md)')
    .action(async (options: { config: string }) => {
      const { runAgent } = await import('../agent/run-agent.ts');
      await runAgent(options.config);
      done(0);
    });
  const pki = program.command('pki').description('certificates, with which hosts know each other');
  const folder = new Option('--folder <path>', 'where the authority lies').default('pki');
  const days = new Option('--days <n>', 'how long it is valid').default(PKI_DAYS_DEFAULT).argParser(wholeNumber);
  pki
    .command('init')
    .description('make a certificate authority')
    .addOption(folder)
    .addOption(days)
    .option('--name <text>', 'of the authority, for people', 'vmferry')
    .addOption(json)
    .action(async (options) => done(await (await import('./commands/pki.ts')).initPki(options, console)));
  pki
    .command('issue')
    .description('make the certificate of a host')
    .argument('<host>')
    .addOption(folder)
    .addOption(days)
    .option('--address <ip...>', 'IP addresses of the host, for other programs')
    .addOption(json)
    .action(async (host: string, options) =>
      done(await (await import('./commands/pki.ts')).issueCertificate(host, options, console)),
    );
  program
    .command('doctor')
    .description('what of the needs of a host is met, and what each lack costs')
    .option('--qemu <binary...>', 'QEMUs to examine (default: those found)')
    .option('--state-folder <path>', 'where the agent keeps its state', '/var/lib/vmferry')
    .addOption(json)
    .action(async (options) => done(await (await import('./commands/doctor.ts')).examine(options, console)));
}

function addLabCommands({ program, console, done }: Frame): void {
  const lab = program
    .command('lab')
    .description('two hosts on this machine, "a" and "b", joined by a link (needs root)');
  const name = new Option('--name <name>', 'of the lab, where there is more than one');
  lab
    .command('up')
    .description('make the hosts, or change the link of hosts that are up')
    .addOption(name)
    .addOption(
      new Option('--link <rate>', 'in each direction (default: 1gbit)').choices(['100mbit', '1gbit', '10gbit']),
    )
    .option('--delay <ms>', 'added in each direction', wholeNumber)
    .addOption(json)
    .action(async (options) => done(await (await import('./commands/lab.ts')).bringLabUp(options, console)));
  lab
    .command('down')
    .description('remove the hosts with everything that runs on them')
    .addOption(name)
    .addOption(json)
    .action(async (options) => done(await (await import('./commands/lab.ts')).takeLabDown(options, console)));
  lab
    .command('status')
    .description('the hosts of the lab and their agents')
    .addOption(name)
    .addOption(json)
    .action(async (options) => done(await (await import('./commands/lab.ts')).showLab(options, console)));
  lab
    .command('run')
    .description('run a program on a host of the lab: lab run a -- ip addr')
    .argument('<host>')
    .argument('<command...>')
    .addOption(name)
    .action(async (host: string, argv: string[], options) =>
      done(await (await import('./commands/lab.ts')).runInLab(host, argv, options)),
    );
}

function addBenchCommand({ program, console, done }: Frame): void {
  const bench = program
    .command('bench')
    .description("measure vmferry beside QEMU's own migration, on the lab's two hosts (needs root; docs/benchmarks.md)")
    .addOption(new Option('--set <name>', 'which moves').choices(setNames).default('main'))
    .option('--quick', 'the same as --set quick: minutes')
    .option('--case <names>', 'only these guests, "a,b"', nameList)
    .option('--link <names>', 'over these links, "100mbit,1gbit"', nameList)
    .option('--mode <names>', 'only by these means, "vmferry-auto,qemu-default"', nameList)
    .option('--runs <n>', 'how often each (default: by the set)', wholeNumber)
    .option(
      '--out <folder>',
      'where samples and reports go; what is there already is not measured again',
      '.cache/bench',
    )
    .option('--predict', "predict each of vmferry's moves before it (default: with --set prediction)")
    .option('--timeout <time>', 'of a migration that does not end', durationMs, BENCH_TIMEOUT_MS)
    .option('--lab <name>', 'of the lab, which is made anew and removed', 'bench')
    .option('--list', 'say which cases, modes and links there are')
    .addOption(json)
    .action(async (options, command: Command) =>
      done(await (await import('./commands/bench.ts')).bench(options, givenOptions(command), console)),
    );
  // The options are those of "bench", which takes them wherever they stand.
  bench
    .command('paper')
    .description(
      'draw the tables and figures of a paper again, and say which of its claims hold; without a name: list them',
    )
    .argument('[name]')
    .action(async (name: string | undefined, _own, command: Command) =>
      done(
        await (
          await import('./commands/bench-paper.ts')
        ).benchPaper(name, command.optsWithGlobals(), givenOptions(bench), console),
      ),
    );
}

/** What was typed, without what has its default. */
function givenOptions(command: Command): string[] {
  return command.options.flatMap((option) => {
    const name = option.attributeName();
    const value: unknown = command.getOptionValue(name);
    if (command.getOptionValueSource(name) !== 'cli' || name === 'json' || name === 'lab') return [];
    return value === true
      ? [`${option.long}`]
      : [`${option.long}`, name === 'timeout' ? `${String(value)}ms` : String(value)];
  });
}
