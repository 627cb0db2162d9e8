/** Entry of `vmferry`. */
import { realConsole } from './console.ts';
import { runCommand } from './run-command.ts';

process.exitCode = await runCommand(process.argv.slice(2), realConsole());
