/** Arguments in, exit code out: everything that goes wrong ends here, once. */
import { CommanderError } from 'commander';
import type { Command } from 'commander';
import type { Console } from './console.ts';
import { errorLines, errorObject } from './error-text.ts';
import { exitCodeOfError, exitCodes } from './exit-codes.ts';
import { createProgram } from './program.ts';

/** Never throws. */
export async function runCommand(argv: readonly string[], console: Console): Promise<number> {
  let exitCode: number = exitCodes.completed;
  const program = createProgram(console, (code) => (exitCode = code));
  throwInsteadOfExit(program);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    // Commander has printed its complaint, or the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.completed : exitCodes.usage;
    if (wantsJson(argv)) console.print(JSON.stringify(errorObject(error), null, 2));
    for (const line of errorLines(error)) console.remark(line);
    const code = exitCodeOfError(error);
    if (code === exitCodes.internal && error instanceof Error && process.env['VMFERRY_DEBUG'] !== undefined) {
      console.remark(error.stack ?? '');
    }
    return code;
  }
}

function throwInsteadOfExit(command: Command): void {
  command.exitOverride();
  for (const child of command.commands) throwInsteadOfExit(child);
}

/** Only options before `--` are ours. */
function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--');
  return (end === -1 ? argv : argv.slice(0, end)).includes('--json');
}
